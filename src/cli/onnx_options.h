// SPDX-License-Identifier: Apache-2.0
//
// Options of verbs that write ONNX graphs.
//
//   OnnxArguments onnx;                 // outlives the verb
//   add_onnx_options(*verb, onnx);
//   request.onnx = onnx_options(*verb, onnx, {"onnx-genai"});
#pragma once

#include <CLI/CLI.hpp>
#include <span>
#include <string>

#include "pipeline/export/onnx_options.h"

namespace nibble::cli {

struct OnnxArguments {
  std::string type;
  OnnxOptions options;
};

void add_onnx_options(CLI::App& verb, OnnxArguments& arguments);

// containers: what is written. Error(invalid_argument) where an option would have no effect.
OnnxOptions onnx_options(const CLI::App& verb, const OnnxArguments& arguments, std::span<const std::string> containers);

}  // namespace nibble::cli
