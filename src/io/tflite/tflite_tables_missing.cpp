// SPDX-License-Identifier: Apache-2.0
//
// In place of tflite_tables.cpp and tflite_writer.cpp where nibble is built without FlatBuffers.
#include "io/tflite/tflite_model.h"
#include "nibble/error.h"

namespace nibble {

bool has_tflite() noexcept { return false; }

TfliteModel parse_tflite(std::span<const std::byte>, const std::string& source) {
  throw Error(ErrorKind::unsupported, source + ": " + std::string(kTfliteMissing));
}

std::string serialize_tflite(const TfliteModel&) { throw Error(ErrorKind::unsupported, std::string(kTfliteMissing)); }

}  // namespace nibble
