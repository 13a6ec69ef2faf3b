// SPDX-License-Identifier: Apache-2.0
//
// Options as the package hands them over: a dictionary of every field that is given, by the field's name, enums by
// their names. What is not given keeps the library's default. Error(invalid_argument) names a field's value that is
// none and the names that there are; a value of another type is a TypeError.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/vector.h>

#include <string>
#include <utility>
#include <vector>

#include "nibble/chat.h"
#include "nibble/engine.h"
#include "nibble/generate.h"
#include "nibble/model.h"
#include "text_caster.h"

namespace nibble::python {

// A name and a text each.
using Texts = std::vector<std::pair<std::string, std::string>>;
std::vector<NamedText> named_texts(const Texts& texts);

MachineOptions machine_options(const nanobind::dict& options);
ArithmeticOptions arithmetic_options(const nanobind::dict& options);
SamplerOptions sampler_options(const nanobind::dict& options);
ChatTemplateOptions chat_template_options(const nanobind::dict& options);
GenerateOptions generate_options(const nanobind::dict& options);  // but for the callbacks

const char* name_of(InstructionSet set);
const char* name_of(KeyValueStorage storage);

}  // namespace nibble::python
