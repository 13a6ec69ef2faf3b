// SPDX-License-Identifier: Apache-2.0
//
// Any bytes as an array of NumPy, or as an archive of several.
#include <cstddef>
#include <cstdint>

#include "io/npy/npy_file.h"
#include "nibble/error.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace nibble;
  const std::span<const std::byte> bytes = std::as_bytes(std::span(data, size));
  try {
    if (is_npz(bytes))
      parse_npz(bytes, "x.npz");
    else
      serialize_npy(parse_npy(bytes, "x.npy"));
  } catch (const Error&) {
  }
  return 0;
}
