// SPDX-License-Identifier: Apache-2.0
//
// Any bytes as a small net in ONNX.
#include <cstddef>

#include "net/onnx/onnx_net.h"
#include "nibble/error.h"
#include "read_and_evaluate.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace nibble;
  try {
    read_and_evaluate([&] { return read_onnx_net(std::as_bytes(std::span(data, size)), "/none/model.onnx", {}); });
  } catch (const Error&) {
  }
  return 0;
}
