// SPDX-License-Identifier: Apache-2.0
//
// The parts of the extension nibble._native, a file each. What they define is plain and untyped; the package around it
// (python/nibble) has the types, the defaults and the documentation.
#pragma once

#include <nanobind/nanobind.h>

namespace nibble::python {

void bind_errors(nanobind::module_& module);
void bind_models(nanobind::module_& module);

}  // namespace nibble::python
