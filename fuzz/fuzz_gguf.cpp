// SPDX-License-Identifier: Apache-2.0
//
// Any bytes as a GGUF file: parsed in memory, and opened as a file where that succeeds.
#include "io/gguf/gguf_header.h"
#include "open_and_decode.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace nibble;
  try {
    parse_gguf({reinterpret_cast<const std::byte*>(data), size}, "model.gguf");
  } catch (const Error&) {
    return 0;
  }
  open_and_decode(fuzz_file("model.gguf", {reinterpret_cast<const char*>(data), size}));
  return 0;
}
