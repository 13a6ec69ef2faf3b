// SPDX-License-Identifier: Apache-2.0
//
// Any bytes as a GGUF file.
#include "open_and_decode.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  nibble::open_and_decode(nibble::fuzz_file("model.gguf", {reinterpret_cast<const char*>(data), size}));
  return 0;
}
