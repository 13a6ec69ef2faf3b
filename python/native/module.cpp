// SPDX-License-Identifier: Apache-2.0
#include <string>

#include "nibble/model.h"
#include "parts.h"
#include "text_caster.h"

NB_MODULE(_native, module) {
  module.def("version", [] { return std::string(nibble::version()); });
  nibble::python::bind_errors(module);
  nibble::python::bind_models(module);
  nibble::python::bind_texts(module);
  nibble::python::bind_verdicts(module);
  nibble::python::bind_quantization(module);
  nibble::python::bind_conversion(module);
  nibble::python::bind_matrices(module);
}
