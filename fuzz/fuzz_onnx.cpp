// SPDX-License-Identifier: Apache-2.0
//
// Any bytes as the model.onnx of a package whose constants lie in a file of zeros. Parsed in memory, and opened as a
// package where that succeeds.
#include "io/onnx/onnx_package.h"
#include "open_and_decode.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace nibble;
  try {
    parse_onnx(std::as_bytes(std::span(data, size)), "model.onnx");
  } catch (const Error&) {
    return 0;
  }
  static const std::filesystem::path constants = fuzz_file(std::string(kOnnxDataFile), "");
  std::filesystem::resize_file(constants, 4u << 20);
  fuzz_file(std::string(kOnnxFile), {reinterpret_cast<const char*>(data), size});
  open_and_decode(fuzz_directory());
  return 0;
}
