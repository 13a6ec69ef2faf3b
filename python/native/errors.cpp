// SPDX-License-Identifier: Apache-2.0
#include "nibble/error.h"

#include <nanobind/nanobind.h>

#include <string>

#include "fields.h"
#include "parts.h"
#include "text_caster.h"

namespace nibble::python {

namespace nb = nanobind;

namespace {

constexpr Choice<ErrorKind> kKinds[] = {{"invalid_argument", ErrorKind::invalid_argument},
                                        {"not_found", ErrorKind::not_found},
                                        {"corrupt", ErrorKind::corrupt},
                                        {"unsupported", ErrorKind::unsupported},
                                        {"unusable_input", ErrorKind::unusable_input},
                                        {"io", ErrorKind::io},
                                        {"resource", ErrorKind::resource},
                                        {"cancelled", ErrorKind::cancelled},
                                        {"internal", ErrorKind::internal}};

}  // namespace

void bind_errors(nb::module_&) {
  nb::register_exception_translator([](const std::exception_ptr& thrown, void*) {
    try {
      std::rethrow_exception(thrown);
    } catch (const Error& error) {
      const nb::object error_of = nb::module_::import_("nibble._errors").attr("error_of");
      const nb::object raised = error_of(spelling_of(error.kind(), kKinds), std::string(error.what()), error.setting());
      PyErr_SetObject(raised.type().ptr(), raised.ptr());
    }
  });
}

}  // namespace nibble::python
