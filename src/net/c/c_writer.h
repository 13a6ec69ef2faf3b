// SPDX-License-Identifier: Apache-2.0
//
// Operators of a TensorFlow Lite model as calls of functions in C, their constants as arrays, and where values lie.
// Internal to net/c.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "io/tflite/tflite_model.h"
#include "net/c/c_functions.h"

namespace nibble {

std::uint64_t count_of(const TfliteTensor& tensor);
std::string c_number(float number);
std::string operator_name(const TfliteOperator& op);
// What may stand in a comment.
std::string comment_text(std::string_view text);

class CWriter {
 public:
  explicit CWriter(const TfliteModel& model)
      : model_(model), pointers_(model.tensors.size()), makers_(model.tensors.size()) {}

  // Values that lie where a parameter points.
  void place_input(int tensor, const std::string& pointer);
  void place_output(int tensor, const std::string& pointer);
  // Error(unsupported): operators that have no function.
  void write();

  std::size_t arena_bytes() const { return arena_bytes_; }
  std::uint64_t constant_bytes() const { return constant_bytes_; }
  bool needs_math() const { return needs_math_; }
  bool needs_strings() const { return needs_strings_ || functions_.uses("move"); }
  void use(std::string_view function) { functions_.use(function); }
  std::string functions() const { return functions_.text(); }
  const std::string& constants() const { return constants_; }
  const std::string& body() const { return body_; }

 private:
  struct Refusal {
    std::string reason;
  };
  [[noreturn]] static void refuse(std::string reason) { throw Refusal{std::move(reason)}; }
  const TfliteTensor& tensor(int index) const { return model_.tensors[static_cast<std::size_t>(index)]; }
  const TfliteTensor& in(const TfliteOperator& op, std::size_t i) const { return tensor(op.inputs[i]); }
  const TfliteTensor& out(const TfliteOperator& op) const { return tensor(op.outputs[0]); }
  bool is_code(int index) const { return tensor(index).type == TfliteType::i8; }
  // What makes floats of stored codes: an array of its own.
  bool is_stored_dequantize(const TfliteOperator& op) const;
  bool is_constant(int index) const { return !tensor(index).bytes.empty(); }
  // As many as asked for; 0: as there are.
  std::vector<std::int32_t> whole_numbers(const TfliteOperator& op, std::size_t input, std::size_t count = 0) const;

  void plan();
  void judge(const TfliteOperator& op) const;
  void judge_value(int index) const;
  // As an index into one that is repeated.
  std::string place_in(const TfliteTensor& one, const TfliteTensor& made) const;
  // As an expression: a parameter, a place in the arena, or an array.
  std::string pointer(int index);
  std::string array(std::string_view type, std::span<const std::int64_t> numbers, const std::string& what);
  std::string array(std::span<const float> numbers, const std::string& what);
  void call(std::string_view function, const std::string& arguments);
  void write(const TfliteOperator& op);

  struct Range {
    std::int32_t low, high;
  };
  Range codes_of_activation(const TfliteOperator& op) const;
  std::string limits_of_activation(const TfliteOperator& op) const;
  std::string window(const TfliteOperator& op, std::int64_t tap_rows, std::int64_t tap_cols, std::int64_t groups,
                     std::int64_t depth);
  std::string grid(int index);
  void write_convolution(const TfliteOperator& op);
  void write_pooling(const TfliteOperator& op);
  void write_pair(const TfliteOperator& op);
  void write_point(const TfliteOperator& op);
  void write_mean(const TfliteOperator& op);
  void write_softmax(const TfliteOperator& op);
  void write_reshape(const TfliteOperator& op);
  void write_move(int from, int to, std::vector<std::int64_t> counts, std::vector<std::int64_t> from_steps,
                  std::vector<std::int64_t> to_steps, std::int64_t from_base, std::int64_t to_base);
  void write_transpose(const TfliteOperator& op);
  void write_concatenation(const TfliteOperator& op);
  void write_pad(const TfliteOperator& op);
  void write_slice(const TfliteOperator& op);
  void write_enlarging(const TfliteOperator& op);
  // Error: Refusal, where one is no number.
  static std::string number(float number);
  std::vector<float> stored_floats(const TfliteTensor& codes) const;
  std::string table_of(const TfliteOperator& op);

  const TfliteModel& model_;
  std::vector<std::string> pointers_;          // by tensor; empty: not known yet
  std::vector<const TfliteOperator*> makers_;  // by tensor; null: none
  std::set<const TfliteOperator*> refused_;
  std::vector<int> inputs_;
  std::vector<std::pair<int, std::string>> outputs_;
  std::map<std::string, std::string> arrays_;  // names by text
  CFunctions functions_;
  std::string constants_, body_;
  std::size_t arena_bytes_ = 0;
  std::uint64_t constant_bytes_ = 0;
  bool needs_math_ = false, needs_strings_ = false;
};

}  // namespace nibble
