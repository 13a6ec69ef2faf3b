// SPDX-License-Identifier: Apache-2.0
//
// nibble/progress.h: how far the work is, and how to stop it. Every call that takes long takes a callback.
//
//   progress MODEL OUTPUT        stops on the first report: the output must not be there afterwards
#include <nibble/error.h>
#include <nibble/progress.h>
#include <nibble/quantize.h>

#include <filesystem>
#include <iostream>

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const nibble::Model model = nibble::open_model(argv[1]);
  nibble::QuantizeRequest request{.format = "q8_0", .output = argv[2]};
  request.progress = [](const nibble::Progress& progress) {
    std::cout << progress.stage << ' ' << progress.item << ": " << progress.done << " of " << progress.total << '\n';
    return false;  // true would go on
  };
  try {
    nibble::quantize(model, request);
  } catch (const nibble::Error& error) {
    std::cout << error.what() << '\n';
    // Nothing is left half-written.
    return error.kind() == nibble::ErrorKind::cancelled && !std::filesystem::exists(argv[2]) ? 0 : 1;
  }
  return 1;
}
