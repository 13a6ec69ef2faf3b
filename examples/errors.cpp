// SPDX-License-Identifier: Apache-2.0
//
// nibble/error.h: one exception, with a kind to decide by and a sentence to show.
//
//   errors MODEL
#include <nibble/error.h>
#include <nibble/quantize.h>

#include <functional>
#include <iostream>

namespace {

// What the call's error is; shows its message.
nibble::ErrorKind kind_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const nibble::Error& error) {
    std::cout << error.what() << '\n';
    // The field of the request that would mend it, where one would.
    if (*error.setting() != '\0') std::cout << "  see: " << error.setting() << '\n';
    return error.kind();
  }
  return nibble::ErrorKind::internal;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const nibble::Model model = nibble::open_model(argv[1]);
  const bool missing = kind_of([] { nibble::open_model("no/such/model"); }) == nibble::ErrorKind::not_found;
  const bool unknown = kind_of([&] { nibble::quantize(model, {.format = "q4_z", .output = "x.gguf"}); }) ==
                       nibble::ErrorKind::invalid_argument;
  const bool too_short =
      kind_of([&] { nibble::evaluate(model, {{"a word", "Hello"}}, {}); }) == nibble::ErrorKind::unusable_input;
  return missing && unknown && too_short ? 0 : 1;
}
