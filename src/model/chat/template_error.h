// SPDX-License-Identifier: Apache-2.0
//
// What is wrong with a template, or with what it was given. Safe from any thread.
//
//   try { text = chat_template.render(conversation); }
//   catch (const TemplateError& e) { if (e.cause() == TemplateError::Cause::raised) show(e.message()); }
#pragma once

#include <string>

#include "nibble/error.h"

namespace nibble {

class TemplateError : public Error {
 public:
  enum class Cause {
    syntax,       // not a template: ErrorKind::corrupt, as undefined, value and refused
    undefined,    // something is made of what is not there
    value,        // an operation that does not take these values
    refused,      // what the sandbox does not allow: lists and dictionaries that would be changed
    raised,       // the template's own raise_exception(): ErrorKind::unusable_input
    limit,        // steps, depth, held bytes or output bytes: ErrorKind::resource
    unsupported,  // a filter, test, statement or function that is not known here: ErrorKind::unsupported
  };

  // line: of the template, from 1.
  TemplateError(Cause cause, int line, const std::string& source, const std::string& message);

  Cause cause() const noexcept { return cause_; }
  int line() const noexcept { return line_; }
  // Without source and line: of Cause::raised what the template itself says.
  const std::string& message() const noexcept { return message_; }

 private:
  Cause cause_;
  int line_;
  std::string message_;
};

}  // namespace nibble
