// SPDX-License-Identifier: Apache-2.0
//
// The pen that exporters write an ONNX graph with: operators get names of their own, and constants that are equal are
// one. One thread at a time. Internal to pipeline/export/onnx.
//
//   GraphPen pen(OnnxType::f32);
//   pen.enter("/model/layers.0/mlp");
//   const std::string y = pen.add("Mul", {x, pen.number(2)});
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/onnx/onnx_model.h"

namespace nibble {

class GraphPen {
 public:
  explicit GraphPen(OnnxType type) : type_(type) {}

  OnnxType type() const noexcept { return type_; }  // of the network's values: f32 or f16
  void enter(std::string scope) { scope_ = std::move(scope); }

  // The operator's first output. num_outputs: each has a name of its own, "NAME", "NAME.1".
  std::string add(const std::string& op, std::vector<std::string> inputs, std::vector<OnnxAttribute> attributes = {},
                  std::string_view domain = "", std::size_t num_outputs = 1);
  static std::string output(const std::string& first, std::size_t index) {
    return index == 0 ? first : first + "." + std::to_string(index);
  }
  // Leaves out an output that nobody reads.
  void leave_out(const std::string& output);
  // A value that goes by another name from here to its readers.
  void rename(const std::string& value, const std::string& name);

  std::string integers(const std::vector<std::int64_t>& values);  // [n] of INT64
  std::string integer(std::int64_t value);                        // a scalar
  std::string number(float value);                                // a scalar of type()
  // A constant of type() with a name of its own.
  std::string numbers(std::string name, std::vector<std::uint64_t> dims, std::span<const float> values);
  // One whose bytes come later.
  void declare(OnnxInitializer initializer) { model_.initializers.push_back(std::move(initializer)); }
  std::string cast(const std::string& value, OnnxType to);

  OnnxModel& model() noexcept { return model_; }

 private:
  std::string constant(std::string name, OnnxType type, std::vector<std::uint64_t> dims, std::string bytes);

  OnnxType type_;
  OnnxModel model_;
  std::string scope_;
  std::map<std::string, std::size_t> names_;      // how often each was wanted
  std::map<std::string, std::string> constants_;  // by what they are
};

}  // namespace nibble
