// SPDX-License-Identifier: Apache-2.0
//
// The one exception that the library throws.
//
// Thrown where input is judged (files, arguments, text); kernels and inner loops never throw. Programming errors are
// asserts. The message says what is wrong, where (file, tensor, offset) and what to do; values stand at the end of the
// sentence.
//
//   try { auto model = nibble::open_model(path); }
//   catch (const nibble::Error& e) { std::cerr << e.what() << '\n'; return e.kind() ==
//   nibble::ErrorKind::invalid_argument ? 2 : 1; }
#pragma once

#include <stdexcept>
#include <string>

namespace nibble {

enum class ErrorKind {
  invalid_argument,  // the caller asked for something that makes no sense
  not_found,         // a file or tensor that should be there is not
  corrupt,           // a file contradicts its own format
  unsupported,       // valid, but nothing here can take it
  unusable_input,    // a sound input that does not serve what was asked: a text shorter than a window, statistics of
                     // another model
  io,                // the operating system refused
  resource,          // memory, disk or another limit ran out
  cancelled,         // a progress callback returned false
  internal,          // a promise inside the library was broken
};

class Error : public std::runtime_error {
 public:
  // setting: the one that would mend it, where one would, by the name of its field in the options ("texts",
  // "allow_requantize"). Messages name no flags of any program; who has flags finds the one to name by this. A string
  // literal.
  Error(ErrorKind kind, const std::string& message, const char* setting = "")
      : std::runtime_error(message), kind_(kind), setting_(setting) {}
  ErrorKind kind() const noexcept { return kind_; }
  const char* setting() const noexcept { return setting_; }

 private:
  ErrorKind kind_;
  const char* setting_;
};

}  // namespace nibble
