// SPDX-License-Identifier: Apache-2.0
//
// nibble/convert.h: the same numbers in another file.
//
//   convert MODEL OUTPUT
#include <nibble/convert.h>
#include <nibble/error.h>

#include <iostream>

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: convert MODEL OUTPUT\n";
    return 2;
  }
  const nibble::Model model = nibble::open_model(argv[1]);

  // Every number is kept, or the conversion is refused and names the tensor that has no exact place.
  const nibble::ConvertSummary made = nibble::convert(model, {.output = argv[2]});
  std::size_t kept = 0;
  for (const nibble::ConvertedTensor& tensor : made.tensors) kept += tensor.conversion == nibble::Conversion::kept;
  std::cout << made.output.output_bytes << " bytes; of " << made.tensors.size() << " matrices " << kept
            << " keep their bytes\n";

  // Another floating-point type may lose something: that has to be allowed, and is counted.
  try {
    nibble::convert(model, {.dtype = "f16", .dry_run = true});
    std::cout << "f16 would hold every number, too\n";
  } catch (const nibble::Error& error) {
    std::cout << error.what() << '\n';
  }
  return made.is_exact() ? 0 : 1;
}
