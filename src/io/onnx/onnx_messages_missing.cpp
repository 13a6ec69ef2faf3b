// SPDX-License-Identifier: Apache-2.0
//
// In place of onnx_messages.cpp where nibble is built without ONNX.
#include "io/onnx/onnx_model.h"
#include "nibble/error.h"

namespace nibble {

bool has_onnx() noexcept { return false; }

std::string serialize_onnx(const OnnxModel&) { throw Error(ErrorKind::unsupported, std::string(kOnnxMissing)); }

OnnxModel parse_onnx(std::span<const std::byte>, const std::string& source) {
  throw Error(ErrorKind::unsupported, source + ": " + std::string(kOnnxMissing));
}

OnnxInitializer parse_onnx_tensor(std::span<const std::byte>, const std::string& source) {
  throw Error(ErrorKind::unsupported, source + ": " + std::string(kOnnxMissing));
}

}  // namespace nibble
