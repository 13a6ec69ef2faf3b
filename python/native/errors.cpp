// SPDX-License-Identifier: Apache-2.0
#include "nibble/error.h"

#include <nanobind/nanobind.h>

#include <string>

#include "parts.h"
#include "text_caster.h"

namespace nibble::python {

namespace nb = nanobind;

namespace {

const char* name_of(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::invalid_argument:
      return "invalid_argument";
    case ErrorKind::not_found:
      return "not_found";
    case ErrorKind::corrupt:
      return "corrupt";
    case ErrorKind::unsupported:
      return "unsupported";
    case ErrorKind::unusable_input:
      return "unusable_input";
    case ErrorKind::io:
      return "io";
    case ErrorKind::resource:
      return "resource";
    case ErrorKind::cancelled:
      return "cancelled";
    case ErrorKind::internal:
      break;
  }
  return "internal";
}

}  // namespace

void bind_errors(nb::module_&) {
  nb::register_exception_translator([](const std::exception_ptr& thrown, void*) {
    try {
      std::rethrow_exception(thrown);
    } catch (const Error& error) {
      const nb::object error_of = nb::module_::import_("nibble._errors").attr("error_of");
      const nb::object raised = error_of(name_of(error.kind()), std::string(error.what()), error.setting());
      PyErr_SetObject(raised.type().ptr(), raised.ptr());
    }
  });
}

}  // namespace nibble::python
