// SPDX-License-Identifier: Apache-2.0
//
// The parts of the extension nibble._native, a file each. What they define is plain and untyped; the package around it
// (python/nibble) has the types, the defaults and the documentation.
#pragma once

#include <nanobind/nanobind.h>

namespace nibble::python {

void bind_errors(nanobind::module_& module);
void bind_models(nanobind::module_& module);
void bind_texts(nanobind::module_& module);  // after bind_models
void bind_verdicts(nanobind::module_& module);
void bind_quantization(nanobind::module_& module);  // after bind_verdicts
void bind_conversion(nanobind::module_& module);    // after bind_verdicts
void bind_matrices(nanobind::module_& module);

}  // namespace nibble::python
