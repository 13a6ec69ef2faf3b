// SPDX-License-Identifier: Apache-2.0
#include "net/c/c_writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "graph/extents.h"
#include "io/tflite/tflite_codes.h"
#include "net/engine/buffer_plan.h"
#include "net/refused_nodes.h"
#include "nibble/error.h"

namespace nibble {

std::uint64_t count_of(const TfliteTensor& tensor) { return numbers_of(std::span(tensor.shape)); }

std::string c_number(float number) {
  std::string text = fmt::format("{:.9g}", number);
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  return text + "f";
}

std::string comment_text(std::string_view text) {
  std::string kept;
  for (const char c : text) kept += c >= ' ' && c < 127 && c != '*' && c != '\\' && c != '?' ? c : '_';
  return kept;
}

std::string CWriter::number(float number) {
  if (!std::isfinite(number)) refuse("stored numbers that are infinite, or none");
  return c_number(number);
}

// What stored codes stand for.
std::vector<float> CWriter::stored_floats(const TfliteTensor& codes) const {
  std::vector<float> numbers;
  const std::vector<std::ptrdiff_t> steps = row_major(codes.shape);
  if (codes.scales.size() > 1 && codes.dimension >= steps.size()) refuse("stored codes without a grid");
  const std::size_t step = codes.scales.size() == 1 ? 1 : static_cast<std::size_t>(steps[codes.dimension]);
  for (std::size_t i = 0; i < codes.bytes.size(); ++i) {
    const std::size_t at = i / step % codes.scales.size();
    numbers.push_back(
        static_cast<float>(static_cast<std::int8_t>(codes.bytes[i]) - static_cast<std::int32_t>(codes.zeros[at])) *
        codes.scales[at]);
  }
  return numbers;
}

void CWriter::place_input(int tensor, const std::string& pointer) {
  inputs_.push_back(tensor);
  pointers_[static_cast<std::size_t>(tensor)] = pointer;
}

// What has a place already is put there when all else has run.
void CWriter::place_output(int tensor, const std::string& pointer) {
  std::string& place = pointers_[static_cast<std::size_t>(tensor)];
  if (place.empty() && !is_constant(tensor)) place = pointer;
  outputs_.emplace_back(tensor, pointer);
}

void CWriter::write() {
  RefusedNodes refused;
  const auto guarded = [&](const std::string& what, const auto& act) {
    try {
      act();
      return true;
    } catch (const Refusal& refusal) {
      // Without a reason: what it reads has been refused.
      if (!refusal.reason.empty()) refused.add(refusal.reason, what);
      return false;
    }
  };
  for (const int input : inputs_)
    guarded(tensor(input).name, [&] {
      judge_value(input);
      if (is_constant(input)) refuse("inputs that are stored");
    });
  for (const TfliteOperator& op : model_.operators) {
    if (!guarded(out(op).name, [&] { judge(op); })) refused_.insert(&op);
    makers_[static_cast<std::size_t>(op.outputs[0])] = &op;
  }
  plan();
  for (const TfliteOperator& op : model_.operators)
    if (!refused_.contains(&op) && !guarded(out(op).name, [&] { write(op); })) refused_.insert(&op);
  for (const auto& [index, place] : outputs_)
    guarded(tensor(index).name, [&] {
      if (refused_.contains(makers_[static_cast<std::size_t>(index)])) return;
      judge_value(index);
      const std::string from = pointer(index);
      if (from == place) return;
      needs_strings_ = true;
      body_ += fmt::format("  memcpy({}, {}, {});\n", place, from,
                           count_of(tensor(index)) * (is_code(index) ? 1 : sizeof(float)));
    });
  if (!refused.empty())
    throw Error(ErrorKind::unsupported,
                fmt::format("the net is not written to C, which has no functions here for {}; TensorFlow Lite and ONNX "
                            "have them",
                            refused.text()),
                "container");
}

// Values that are not parameters lie in the arena from the operator that makes them to the last that reads them. What
// is only reshaped lies where it lay.
void CWriter::plan() {
  std::vector<net_engine::PlannedBuffer> buffers;
  std::vector<int> buffer_of(model_.tensors.size(), -1), same_as(model_.tensors.size(), -1);
  for (std::size_t i = 0; i < model_.operators.size(); ++i) {
    const TfliteOperator& op = model_.operators[i];
    const auto made = static_cast<std::size_t>(op.outputs[0]);
    for (const int input : op.inputs) {
      if (input < 0) continue;
      std::size_t at = static_cast<std::size_t>(input);
      while (same_as[at] >= 0) at = static_cast<std::size_t>(same_as[at]);
      if (buffer_of[at] >= 0) buffers[static_cast<std::size_t>(buffer_of[at])].last = i;
    }
    if (!pointers_[made].empty()) continue;
    if (refused_.contains(&op) || is_stored_dequantize(op)) continue;
    if (op.code == tflite_code::kReshape || op.code == tflite_code::kSqueeze) {
      same_as[made] = op.inputs[0];
      continue;
    }
    buffer_of[made] = static_cast<int>(buffers.size());
    const std::uint64_t bytes = count_of(tensor(op.outputs[0])) * (is_code(op.outputs[0]) ? 1 : sizeof(float));
    buffers.push_back({.bytes = static_cast<std::size_t>(bytes), .first = i, .last = i});
  }
  arena_bytes_ = plan_buffers(buffers);
  for (std::size_t i = 0; i < model_.tensors.size(); ++i) {
    std::size_t at = i;
    while (same_as[at] >= 0) at = static_cast<std::size_t>(same_as[at]);
    if (!pointers_[i].empty()) continue;
    if (buffer_of[at] >= 0)
      pointers_[i] = fmt::format("({} *)(arena.bytes + {})", is_code(static_cast<int>(i)) ? "int8_t" : "float",
                                 buffers[static_cast<std::size_t>(buffer_of[at])].offset);
    else
      pointers_[i] = pointers_[at];
  }
}

std::string CWriter::pointer(int index) {
  std::string& known = pointers_[static_cast<std::size_t>(index)];
  if (!known.empty()) return known;
  const TfliteTensor& one = tensor(index);
  if (one.bytes.empty()) {
    const TfliteOperator* const maker = makers_[static_cast<std::size_t>(index)];
    if (maker == nullptr) refuse("values that nothing makes");
    if (refused_.contains(maker)) refuse("");
    if (!is_stored_dequantize(*maker)) refuse("values that are made of stored ones");
    return known = array(stored_floats(in(*maker, 0)), one.name);
  }
  if (one.type == TfliteType::f32) {
    if (one.bytes.size() != count_of(one) * sizeof(float)) refuse("stored numbers that are not all there");
    std::vector<float> numbers(count_of(one));
    std::memcpy(numbers.data(), one.bytes.data(), one.bytes.size());
    return known = array(numbers, one.name);
  }
  std::vector<std::int64_t> numbers;
  if (one.type != TfliteType::i8) refuse("stored numbers of this type");
  for (const std::byte byte : one.bytes) numbers.push_back(static_cast<std::int8_t>(byte));
  return known = array("int8_t", numbers, one.name);
}

namespace {

template <class Spell, class T>
std::string rows_of_numbers(std::span<const T> numbers, Spell spell) {
  constexpr std::size_t kInRow = 16;
  std::string text;
  for (std::size_t i = 0; i < numbers.size(); ++i)
    text +=
        fmt::format("{}{}{}", i % kInRow == 0 ? "\n  " : " ", spell(numbers[i]), i + 1 == numbers.size() ? "" : ",");
  return text;
}

}  // namespace

std::string CWriter::array(std::string_view type, std::span<const std::int64_t> numbers, const std::string& what) {
  const std::string text = rows_of_numbers(numbers, [&](std::int64_t x) {
    // The least whole number has no constant of its own in C.
    return x == INT32_MIN ? std::string("-2147483647 - 1") : fmt::format("{}{}", x, type == "uint32_t" ? "u" : "");
  });
  const std::string key = std::string(type) + text;
  if (const auto known = arrays_.find(key); known != arrays_.end()) return known->second;
  const std::string name = fmt::format("a{}", arrays_.size());
  constant_bytes_ += numbers.size() * (type == "int8_t" ? 1 : sizeof(std::int32_t));
  constants_ += fmt::format("/* {} */\nstatic const {} {}[{}] = {{{}}};\n\n", comment_text(what), type, name,
                            numbers.size(), text);
  return arrays_[key] = name;
}

std::string CWriter::array(std::span<const float> numbers, const std::string& what) {
  const std::string text = rows_of_numbers(numbers, number);
  const std::string key = "float" + text;
  if (const auto known = arrays_.find(key); known != arrays_.end()) return known->second;
  const std::string name = fmt::format("a{}", arrays_.size());
  constant_bytes_ += numbers.size() * sizeof(float);
  constants_ +=
      fmt::format("/* {} */\nstatic const float {}[{}] = {{{}}};\n\n", comment_text(what), name, numbers.size(), text);
  return arrays_[key] = name;
}

std::vector<std::int32_t> CWriter::whole_numbers(const TfliteOperator& op, std::size_t input, std::size_t count) const {
  if (input >= op.inputs.size() || op.inputs[input] < 0) refuse("places that are left out");
  const TfliteTensor& one = in(op, input);
  if (one.bytes.empty()) refuse("places that are known only when the net runs");
  if (one.type != TfliteType::i32 || one.bytes.size() != count_of(one) * sizeof(std::int32_t) ||
      (count != 0 && count_of(one) != count))
    refuse("places that are not whole numbers of 32 bits, one for each dimension");
  std::vector<std::int32_t> numbers(count_of(one));
  std::memcpy(numbers.data(), one.bytes.data(), one.bytes.size());
  return numbers;
}

void CWriter::call(std::string_view function, const std::string& arguments) {
  functions_.use(function);
  body_ += fmt::format("  {}({});\n", function, arguments);
}

bool CWriter::is_stored_dequantize(const TfliteOperator& op) const {
  return op.code == tflite_code::kDequantize && is_constant(op.inputs[0]) && is_code(op.inputs[0]) &&
         !in(op, 0).scales.empty();
}

void CWriter::judge_value(int index) const {
  const TfliteTensor& one = tensor(index);
  if (one.type != TfliteType::f32 && !is_code(index))
    refuse("values that are neither floats nor codes of 8 bits and a sign");
  if (one.shape.empty() || count_of(one) == 0) refuse("values whose shape is not said, or without numbers");
  if (!is_code(index)) return;
  const bool has_grid = one.scales.size() == 1 && one.scales[0] > 1e-30F && one.scales[0] < 1e30F &&
                        one.zeros.size() == 1 && one.zeros[0] >= -128 && one.zeros[0] <= 127;
  if (!has_grid) refuse("codes without a grid");
}

// What functions here take for granted, and files need not say.
void CWriter::judge(const TfliteOperator& op) const {
  using namespace tflite_code;
  const auto is_one_of = [&](std::initializer_list<int> codes) {
    return std::ranges::find(codes, op.code) != codes.end();
  };
  if (!is_one_of({kConvolution,
                  kDepthwiseConvolution,
                  kFullyConnected,
                  kAveragePool,
                  kMaxPool,
                  kAdd,
                  kSubtract,
                  kMultiply,
                  kDivide,
                  kMaximum,
                  kMinimum,
                  kMean,
                  kSoftmax,
                  kReshape,
                  kSqueeze,
                  kTranspose,
                  kConcatenation,
                  kPad,
                  kPadV2,
                  kStridedSlice,
                  kResizeNearest,
                  kQuantize,
                  kDequantize,
                  kRelu,
                  kRelu6,
                  kReluN1To1,
                  kLeakyRelu,
                  kHardSwish,
                  kNegative,
                  kAbs,
                  kLogistic,
                  kTanh,
                  kExp,
                  kLog,
                  kSqrt,
                  kRsqrt}))
    refuse(operator_name(op));
  if (op.inputs.empty() || op.inputs[0] < 0 || op.outputs.size() != 1 || op.outputs[0] < 0) refuse("other operands");
  for (const int index : op.inputs)
    if (index >= 0 && !is_constant(index)) judge_value(index);
  judge_value(op.outputs[0]);
  if (is_constant(op.outputs[0])) refuse("results that are stored");
  const bool is_pair = is_one_of({kAdd, kSubtract, kMultiply, kDivide, kMaximum, kMinimum}),
             is_joining = op.code == kConcatenation;
  if (op.options.activation != TfliteActivation::none && !is_pair &&
      !is_one_of({kConvolution, kDepthwiseConvolution, kFullyConnected, kAveragePool, kMaxPool}))
    refuse("a fused activation");
  if (op.code == kQuantize || op.code == kDequantize) {
    if (!is_code(op.code == kQuantize ? op.outputs[0] : op.inputs[0]) ||
        (op.code == kDequantize && is_code(op.outputs[0])))
      refuse("stored numbers of this type");
    return;
  }
  const std::size_t values = is_joining ? op.inputs.size() : is_pair ? 2 : 1;
  if (op.inputs.size() < values) refuse("other operands");
  for (std::size_t i = 0; i < values; ++i) {
    if (op.inputs[i] < 0) refuse("other operands");
    if (in(op, i).type != out(op).type) refuse("numbers of different types");
    if (is_code(op.inputs[i])) judge_value(op.inputs[i]);
  }
  const bool is_on_one_grid = is_joining || is_one_of({kAveragePool, kMaxPool, kReshape, kSqueeze, kTranspose, kPad,
                                                       kPadV2, kStridedSlice, kResizeNearest});
  for (std::size_t i = 0; i < values; ++i)
    if (is_on_one_grid && is_code(op.inputs[i]) &&
        (in(op, i).scales != out(op).scales || in(op, i).zeros != out(op).zeros))
      refuse("codes that go to another grid");
}

void CWriter::write(const TfliteOperator& op) {
  using namespace tflite_code;
  const bool is_coded = is_code(op.inputs[0]);
  switch (op.code) {
    case kConvolution:
    case kDepthwiseConvolution:
    case kFullyConnected:
      return write_convolution(op);
    case kAveragePool:
    case kMaxPool:
      return write_pooling(op);
    case kAdd:
    case kSubtract:
    case kMultiply:
    case kDivide:
    case kMaximum:
    case kMinimum:
      return write_pair(op);
    case kMean:
      return write_mean(op);
    case kSoftmax:
      return write_softmax(op);
    case kReshape:
    case kSqueeze:
      return write_reshape(op);
    case kTranspose:
      return write_transpose(op);
    case kConcatenation:
      return write_concatenation(op);
    case kPad:
    case kPadV2:
      return write_pad(op);
    case kStridedSlice:
      return write_slice(op);
    case kResizeNearest:
      return write_enlarging(op);
    case kQuantize:
      if (is_coded) return write_point(op);
      return call("to_codes", fmt::format("{}, {}, {}, {}, {}", pointer(op.inputs[0]), c_number(out(op).scales[0]),
                                          out(op).zeros[0], count_of(out(op)), pointer(op.outputs[0])));
    case kDequantize:
      if (is_stored_dequantize(op)) {  // numbers stand where they are read; an output has a place of its own
        if (!pointers_[static_cast<std::size_t>(op.outputs[0])].empty()) refuse("outputs that are stored codes");
        return;
      }
      return call("to_floats", fmt::format("{}, {}, {}, {}, {}", pointer(op.inputs[0]), c_number(in(op, 0).scales[0]),
                                           in(op, 0).zeros[0], count_of(out(op)), pointer(op.outputs[0])));
    default:
      return write_point(op);
  }
}

}  // namespace nibble
