// SPDX-License-Identifier: Apache-2.0
//
// What only moves numbers, in C: runs of places along dimensions, each with its step.
#include <fmt/format.h>

#include <cstring>

#include "graph/extents.h"
#include "io/tflite/tflite_codes.h"
#include "net/c/c_writer.h"

namespace nibble {
namespace {

using Steps = std::vector<std::int64_t>;

Steps steps_of(std::span<const std::uint64_t> shape) {
  const std::vector<std::ptrdiff_t> steps = row_major(shape);
  return {steps.begin(), steps.end()};
}

}  // namespace

void CWriter::write_reshape(const TfliteOperator& op) {
  const std::string from = pointer(op.inputs[0]);
  std::string& place = pointers_[static_cast<std::size_t>(op.outputs[0])];
  if (place.empty()) place = from;  // stored numbers
  const std::string to = place;
  if (from == to) return;
  needs_strings_ = true;
  body_ += fmt::format("  memcpy({}, {}, {});\n", to, from,
                       count_of(out(op)) * (is_code(op.outputs[0]) ? 1 : sizeof(float)));
}

void CWriter::write_move(int from, int to, Steps counts, Steps from_steps, Steps to_steps, std::int64_t from_base,
                         std::int64_t to_base) {
  constexpr std::size_t kMost = 6;
  if (counts.size() > kMost) refuse("more than six dimensions");
  for (Steps* const one : {&counts, &from_steps, &to_steps})
    one->insert(one->begin(), kMost - one->size(), one == &counts ? 1 : 0);
  const std::string what = tensor(to).name;
  const auto at = [](const std::string& pointer, std::int64_t base) {
    return base == 0 ? pointer : fmt::format("{} + {}", pointer, base);
  };
  const std::string name_of_counts = array("int32_t", counts, what + ": counts"),
                    name_of_from = array("int32_t", from_steps, what + ": steps from"),
                    name_of_to = array("int32_t", to_steps, what + ": steps to");
  call("move",
       fmt::format("{}, {}, {}, {}, {}, {}", name_of_counts, name_of_from, name_of_to,
                   is_code(to) ? "1" : "sizeof(float)", at(pointer(from), from_base), at(pointer(to), to_base)));
}

void CWriter::write_transpose(const TfliteOperator& op) {
  const Steps from = steps_of(in(op, 0).shape);
  Steps moved;
  for (const std::int32_t one : whole_numbers(op, 1, from.size()))
    moved.push_back(from[static_cast<std::size_t>(one) + (one < 0 ? from.size() : 0)]);
  write_move(op.inputs[0], op.outputs[0], {out(op).shape.begin(), out(op).shape.end()}, moved, steps_of(out(op).shape),
             0, 0);
}

void CWriter::write_concatenation(const TfliteOperator& op) {
  const TfliteTensor& y = out(op);
  const auto axis = static_cast<std::size_t>(
      op.options.axis < 0 ? op.options.axis + static_cast<std::int64_t>(y.shape.size()) : op.options.axis);
  const Steps to = steps_of(y.shape);
  std::int64_t base = 0;
  for (const int input : op.inputs) {
    const TfliteTensor& x = tensor(input);
    write_move(input, op.outputs[0], {x.shape.begin(), x.shape.end()}, steps_of(x.shape), to, 0, base);
    base += static_cast<std::int64_t>(x.shape[axis]) * to[axis];
  }
}

void CWriter::write_pad(const TfliteOperator& op) {
  const TfliteTensor &x = in(op, 0), &y = out(op);
  const std::vector<std::int32_t> pads = whole_numbers(op, 1, 2 * x.shape.size());
  const bool is_coded = is_code(op.outputs[0]);
  const Steps to = steps_of(y.shape);
  std::int64_t base = 0;
  for (std::size_t i = 0; i < to.size(); ++i) base += pads[2 * i] * to[i];
  float stored = 0;
  std::string number = is_coded ? std::to_string(y.zeros[0]) : std::string("0.0f");
  if (op.code == tflite_code::kPadV2) {
    if (op.inputs.size() < 3 || op.inputs[2] < 0) refuse("other operands");
    const std::span<const std::byte> bytes = in(op, 2).bytes;
    if (in(op, 2).type != y.type || bytes.size() != (is_coded ? 1 : sizeof stored))
      refuse("pads that are known only when the net runs");
    if (is_coded) {
      number = std::to_string(static_cast<int>(static_cast<std::int8_t>(bytes[0])));
    } else {
      std::memcpy(&stored, bytes.data(), sizeof stored);
      number = CWriter::number(stored);
    }
  }
  body_ += fmt::format("  {{\n    {} *y = {};\n    size_t i;\n    for (i = 0; i < {}; ++i) y[i] = {};\n  }}\n",
                       is_coded ? "int8_t" : "float", pointer(op.outputs[0]), count_of(y), number);
  write_move(op.inputs[0], op.outputs[0], {x.shape.begin(), x.shape.end()}, steps_of(x.shape), to, 0, base);
}

void CWriter::write_slice(const TfliteOperator& op) {
  const TfliteOptions& o = op.options;
  if (o.other_masks != 0 || o.begin_mask != 0 || o.end_mask != 0) refuse("slices by masks");
  const Steps from = steps_of(in(op, 0).shape);
  const auto& made = out(op).shape;
  const std::vector<std::int32_t> begin = whole_numbers(op, 1, from.size()), step = whole_numbers(op, 3, from.size());
  if (made.size() != from.size()) refuse("slices that drop dimensions");
  Steps taken;
  std::int64_t base = 0;
  for (std::size_t i = 0; i < from.size(); ++i) {
    if (begin[i] < 0 || step[i] < 1) refuse("slices backwards");
    if (static_cast<std::uint64_t>(begin[i]) + (made[i] - 1) * static_cast<std::uint64_t>(step[i]) >=
        in(op, 0).shape[i])
      refuse("slices past the end");
    base += begin[i] * from[i];
    taken.push_back(step[i] * from[i]);
  }
  write_move(op.inputs[0], op.outputs[0], {made.begin(), made.end()}, taken, steps_of(made), base, 0);
}

// Each number so many times along rows and columns.
void CWriter::write_enlarging(const TfliteOperator& op) {
  const TfliteTensor &x = in(op, 0), &y = out(op);
  if (x.shape.size() != 4 || y.shape.size() != 4 || op.options.aligns_corners || y.shape[1] % x.shape[1] != 0 ||
      y.shape[2] % x.shape[2] != 0)
    refuse("enlarging that does not repeat each number alike");
  const auto rows = static_cast<std::int64_t>(y.shape[1] / x.shape[1]),
             cols = static_cast<std::int64_t>(y.shape[2] / x.shape[2]);
  const Steps from = steps_of(x.shape), to = steps_of(y.shape);
  write_move(op.inputs[0], op.outputs[0],
             {static_cast<std::int64_t>(x.shape[0]), static_cast<std::int64_t>(x.shape[1]), rows,
              static_cast<std::int64_t>(x.shape[2]), cols, static_cast<std::int64_t>(x.shape[3])},
             {from[0], from[1], 0, from[2], 0, 1}, {to[0], to[1] * rows, to[1], to[2] * cols, to[2], 1}, 0, 0);
}

}  // namespace nibble
