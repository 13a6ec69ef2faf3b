// SPDX-License-Identifier: Apache-2.0
//
// Any bytes as a model of TensorFlow Lite.
#include <cstddef>

#include "net/tflite/tflite_net.h"
#include "nibble/error.h"
#include "read_and_evaluate.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace nibble;
  try {
    read_and_evaluate([&] { return read_tflite_net(std::as_bytes(std::span(data, size)), "model.tflite", {}); });
  } catch (const Error&) {
  }
  return 0;
}
