// SPDX-License-Identifier: Apache-2.0
//
// What operators of a TensorFlow Lite model are drawn with: tensors by their place, in the order of dimensions that the
// drawing has. Internal to net/tflite.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/tflite/tflite_model.h"
#include "net/net_pen.h"

namespace nibble {

class TflitePen {
 public:
  TflitePen(const TfliteModel& model, const std::string& source) : model_(model), source_(source) {}

  NetPen& pen() { return pen_; }
  const TfliteTensor& tensor(int index) const { return model_.tensors[static_cast<std::size_t>(index)]; }
  void input(int index);
  void output(int index);
  // With channels second where it has four dimensions. where: for messages.
  const NetValue& value(int index, const std::string& where);
  void set(int index, NetValue value, const std::string& where);
  // The stored numbers of a tensor as they lie in the file: codes as they are.
  NetConstant stored(int index, const std::string& where) const;
  Net finish() && { return std::move(pen_).finish(); }

 private:
  const TfliteModel& model_;
  const std::string& source_;
  NetPen pen_;
  std::map<int, NetValue> values_;
};

// Between the file's order and the drawing's, of values of four dimensions.
NetValue channels_second(NetPen& pen, const NetValue& x);
NetValue channels_last(NetPen& pen, const NetValue& x);

class TfliteView {
 public:
  TfliteView(const TfliteOperator& op, std::string where, TflitePen& pen)
      : op_(op), where_(std::move(where)), pen_(pen) {}

  NetPen& pen() const { return pen_.pen(); }
  const TfliteOptions& options() const { return op_.options; }
  std::size_t num_inputs() const { return op_.inputs.size(); }
  bool has(std::size_t input) const { return input < op_.inputs.size() && op_.inputs[input] >= 0; }
  const TfliteTensor& tensor(std::size_t input) const;
  const NetValue& in(std::size_t input) const;
  NetConstant stored(std::size_t input) const;
  std::vector<std::int64_t> whole_numbers(std::size_t input) const;
  const TfliteTensor& result() const;
  void out(NetValue value);

  // As floats: codes stand for the numbers that their tensor says.
  NetValue real(std::size_t input) const;
  // Codes less their zero.
  NetValue centred(std::size_t input) const;
  // Of floats: what the result is stored as. Fused activations first.
  void out_real(NetValue value);
  bool is_coded(std::size_t input) const {
    return tensor(input).type == TfliteType::i8 || tensor(input).type == TfliteType::u8;
  }
  bool gives_codes() const { return result().type == TfliteType::i8 || result().type == TfliteType::u8; }
  // The codes that a fused activation leaves.
  struct CodeRange {
    std::int32_t low, high;
  };
  CodeRange code_range() const;
  float scale_of(const TfliteTensor& tensor) const;  // the one that it has

  [[noreturn]] void damaged(std::string_view why) const;
  [[noreturn]] void refuse(std::string_view why) const;

 private:
  const TfliteOperator& op_;
  std::string where_;
  TflitePen& pen_;
};

struct TfliteConverter {
  int code;
  std::string_view name;
  void (*draw)(TfliteView&);
};

// Null: it is not known.
const TfliteConverter* find_tflite_converter(int code);

}  // namespace nibble
