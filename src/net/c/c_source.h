// SPDX-License-Identifier: Apache-2.0
//
// A small net as C99 that needs nothing but itself: weights as arrays, one function that runs it, values in one static
// block of memory that is planned here. Codes are computed in whole numbers alone, with the bits that single precision
// has (sums times a factor, ties to even); <math.h> is included only where parts in float ask for its functions.
//
//   const CSource c = spell_c(spell_tflite(made.net, made.codes, {.has_code_ports = true}), "kws", "kws.onnx",
//   "kws.h"); write("kws.h", c.header); write("kws.c", c.source);
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "io/tflite/tflite_model.h"

namespace nibble {

// What both files begin with.
inline constexpr std::string_view kCMark = "/* Written by nibble. */";

struct CSource {
  std::string header, source;
  std::uint64_t constant_bytes = 0;  // as a processor stores them
};

// name: what functions and macros begin with, see c_name; source: what the net was, for a comment; header: the file
// that the source includes. Error(unsupported): all operators that are not written to C, by what they are and make.
CSource spell_c(const TfliteModel& model, const std::string& name, const std::string& source, std::string_view header);

// A name of C for a file: other characters become underscores.
std::string c_name(std::string_view stem);

}  // namespace nibble
