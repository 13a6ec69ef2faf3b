// SPDX-License-Identifier: Apache-2.0
#include "net/engine/point_steps.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "kernels/training/training_loops.h"
#include "net/net.h"

namespace nibble::net_engine {
namespace {

template <class Number>
void move_numbers(const Walk<2>& walk, const Number* x, Number* y) {
  const std::ptrdiff_t to = walk.step(0), from = walk.step(1);
  const std::size_t count = walk.count();
  walk([&](const std::array<std::ptrdiff_t, 2>& at) {
    Number* const into = y + at[0];
    const Number* const out_of = x + at[1];
    if (to == 1 && from == 1) {
      std::memcpy(into, out_of, count * sizeof(Number));
      return;
    }
    for (std::size_t i = 0; i < count; ++i)
      into[static_cast<std::ptrdiff_t>(i) * to] = out_of[static_cast<std::ptrdiff_t>(i) * from];
  });
}

class MoveStep final : public Step {
 public:
  MoveStep(const View& x, const View& y)
      : walk_(y.extents, {y.strides, x.strides}, {y.offset, x.offset}),
        x_(x.buffer),
        y_(y.buffer),
        element_(y.element) {}
  std::string_view name() const override { return "move"; }
  void run(const Run& run) const override {
    if (element_ == Element::f32)
      move_numbers(walk_, reinterpret_cast<const float*>(run.buffers[x_]), reinterpret_cast<float*>(run.buffers[y_]));
    else
      move_numbers(walk_, run.buffers[x_], run.buffers[y_]);
  }

 private:
  Walk<2> walk_;
  BufferId x_, y_;
  Element element_;
};

class FillStep final : public Step {
 public:
  FillStep(BufferId buffer, std::size_t numbers, float value) : buffer_(buffer), numbers_(numbers), value_(value) {}
  std::string_view name() const override { return "fill"; }
  void run(const Run& run) const override {
    std::fill_n(reinterpret_cast<float*>(run.buffers[buffer_]), numbers_, value_);
  }

 private:
  BufferId buffer_;
  std::size_t numbers_;
  float value_;
};

class BorderStep final : public Step {
 public:
  BorderStep(const View& view, const Border& border, std::uint8_t code)
      : buffer_(view.buffer),
        border_(border),
        image_(ImageExtents::of(view.extents)),
        width_(bytes_of(view.element)),
        code_(code) {}
  std::string_view name() const override { return "border"; }
  // Whole rows above, then what lies between the last place of a row and the first of the next, whole rows below.
  void run(const Run& run) const override {
    const std::size_t place = image_.channels * width_;
    const std::size_t row = (image_.width + border_.left + border_.right) * place;
    std::byte* at = run.buffers[buffer_];
    for (std::size_t i = 0; i < image_.images; ++i) {
      const std::size_t above = border_.top * row, below = border_.bottom * row;
      std::memset(at, code_, above);
      at += above;
      if (border_.left + border_.right > 0)
        for (std::size_t r = 0; r < image_.height; ++r, at += row) {
          std::memset(at, code_, border_.left * place);
          std::memset(at + (border_.left + image_.width) * place, code_, border_.right * place);
        }
      else
        at += image_.height * row;
      std::memset(at, code_, below);
      at += below;
    }
  }

 private:
  BufferId buffer_;
  Border border_;
  ImageExtents image_;
  std::size_t width_;
  std::uint8_t code_;
};

class PointStep final : public Step {
 public:
  PointStep(const PointCall& call, const View& x, const View& y)
      : call_(call), walk_(y.extents, {y.strides, x.strides}, {y.offset, x.offset}), x_(x.buffer), y_(y.buffer) {}
  std::string_view name() const override { return "function"; }
  void run(const Run& run) const override {
    const float* const x = reinterpret_cast<const float*>(run.buffers[x_]);
    float* const y = reinterpret_cast<float*>(run.buffers[y_]);
    const bool is_dense = walk_.step(0) == 1 && walk_.step(1) == 1;
    walk_([&](const std::array<std::ptrdiff_t, 2>& at) {
      if (is_dense || walk_.count() == 1)
        return run.loops.apply(call_.function, call_.a, call_.b, x + at[1], walk_.count(), y + at[0]);
      for (std::size_t i = 0; i < walk_.count(); ++i)
        run.loops.apply(call_.function, call_.a, call_.b, x + at[1] + static_cast<std::ptrdiff_t>(i) * walk_.step(1), 1,
                        y + at[0] + static_cast<std::ptrdiff_t>(i) * walk_.step(0));
    });
  }

 private:
  PointCall call_;
  Walk<2> walk_;
  BufferId x_, y_;
};

class GeluStep final : public Step {
 public:
  GeluStep(const View& x, const View& y)
      : walk_(y.extents, {y.strides, x.strides}, {y.offset, x.offset}), x_(x.buffer), y_(y.buffer) {}
  std::string_view name() const override { return "gelu"; }
  void run(const Run& run) const override {
    const float* const x = reinterpret_cast<const float*>(run.buffers[x_]);
    float* const y = reinterpret_cast<float*>(run.buffers[y_]);
    const auto gelu = training_loops(run.machine.isa).gelu;
    const bool is_dense = walk_.step(0) == 1 && walk_.step(1) == 1;
    const std::size_t together = is_dense ? walk_.count() : 1;
    walk_([&](const std::array<std::ptrdiff_t, 2>& at) {
      for (std::size_t i = 0; i < walk_.count(); i += together)
        gelu(x + at[1] + static_cast<std::ptrdiff_t>(i) * walk_.step(1), together,
             y + at[0] + static_cast<std::ptrdiff_t>(i) * walk_.step(0));
    });
  }

 private:
  Walk<2> walk_;
  BufferId x_, y_;
};

class PairStep final : public Step {
 public:
  PairStep(PairFunction function, const View& a, const View& b, const View& y)
      : function_(function),
        walk_(y.extents, {y.strides, a.strides, b.strides}, {y.offset, a.offset, b.offset}),
        a_(a.buffer),
        b_(b.buffer),
        y_(y.buffer) {}
  std::string_view name() const override { return "function of two"; }
  void run(const Run& run) const override {
    const float* const a = reinterpret_cast<const float*>(run.buffers[a_]);
    const float* const b = reinterpret_cast<const float*>(run.buffers[b_]);
    float* const y = reinterpret_cast<float*>(run.buffers[y_]);
    const auto is_loop = [](std::ptrdiff_t step) { return step == 0 || step == 1; };
    const bool is_dense = walk_.step(0) == 1 && is_loop(walk_.step(1)) && is_loop(walk_.step(2));
    walk_([&](const std::array<std::ptrdiff_t, 3>& at) {
      if (is_dense || walk_.count() == 1)
        return run.loops.combine(function_, a + at[1], walk_.step(1) == 1, b + at[2], walk_.step(2) == 1, walk_.count(),
                                 y + at[0]);
      for (std::size_t i = 0; i < walk_.count(); ++i) {
        const auto n = static_cast<std::ptrdiff_t>(i);
        run.loops.combine(function_, a + at[1] + n * walk_.step(1), 1, b + at[2] + n * walk_.step(2), 1, 1,
                          y + at[0] + n * walk_.step(0));
      }
    });
  }

 private:
  PairFunction function_;
  Walk<3> walk_;
  BufferId a_, b_, y_;
};

class PoolStep final : public Step {
 public:
  PoolStep(const Pooling& pooling, const Dimensions& shape, const View& x, const View& y)
      : is_maximum_(pooling.kind == Pooling::Kind::maximum),
        counts_pads_(pooling.counts_pads),
        plane_(pooling.window.plane(shape)),
        made_(ImageExtents::of(y.extents)),
        x_(x),
        y_(y) {}
  std::string_view name() const override { return "pooling"; }
  void run(const Run& run) const override {
    const std::size_t rows = made_.images * made_.height;
    const std::size_t work = rows * made_.width * made_.channels * plane_.tap_rows * plane_.tap_cols;
    const std::size_t grain = std::max<std::size_t>(1, work < 200'000 ? rows : 1);
    run.machine.pool.parallel_for(rows, grain, [&](std::size_t begin, std::size_t end, std::size_t) {
      for (std::size_t i = begin; i < end; ++i)
        for (std::size_t col = 0; col < made_.width; ++col) make(run, i / made_.height, i % made_.height, col);
    });
  }

 private:
  struct Taps {
    std::size_t first = 0, count = 0, counted = 0;  // counted: pads too, where they count
  };
  Taps taps(std::ptrdiff_t begin, std::size_t count, std::ptrdiff_t step, std::size_t extent,
            std::ptrdiff_t pads) const {
    Taps found;
    for (std::size_t i = 0; i < count; ++i) {
      const std::ptrdiff_t at = begin + static_cast<std::ptrdiff_t>(i) * step;
      if (at < static_cast<std::ptrdiff_t>(extent) + pads) ++found.counted;
      if (at < 0 || at >= static_cast<std::ptrdiff_t>(extent)) continue;
      if (found.count == 0) found.first = i;
      ++found.count;
    }
    return found;
  }

  void make(const Run& run, std::size_t image, std::size_t row, std::size_t col) const {
    const std::ptrdiff_t top = static_cast<std::ptrdiff_t>(row) * plane_.row_stride - plane_.top,
                         left = static_cast<std::ptrdiff_t>(col) * plane_.col_stride - plane_.left;
    const Taps rows = taps(top, plane_.tap_rows, plane_.row_step, plane_.height, plane_.bottom),
               cols = taps(left, plane_.tap_cols, plane_.col_step, plane_.width, plane_.right);
    const bool has_rows = x_.strides.size() == 4;
    const std::ptrdiff_t x_row = has_rows ? x_.strides[2] : 0, x_col = x_.strides.back();
    const std::ptrdiff_t from = static_cast<std::ptrdiff_t>(image) * x_.strides[0] +
                                (top + static_cast<std::ptrdiff_t>(rows.first) * plane_.row_step) * x_row +
                                (left + static_cast<std::ptrdiff_t>(cols.first) * plane_.col_step) * x_col;
    const std::ptrdiff_t to = static_cast<std::ptrdiff_t>(image) * y_.strides[0] +
                              (has_rows ? static_cast<std::ptrdiff_t>(row) * y_.strides[2] : 0) +
                              static_cast<std::ptrdiff_t>(col) * y_.strides.back();
    PooledPlace place{rows.count, cols.count, x_row * plane_.row_step, x_col * plane_.col_step, made_.channels, 0};
    if (y_.element == Element::code) return run.loops.pool_codes(place, run.codes(x_) + from, run.codes(y_) + to);
    if (rows.count * cols.count == 0) {
      // Of pads alone: no number is the largest, and the mean of zeros is 0.
      std::fill_n(run.floats(y_) + to, made_.channels, is_maximum_ ? -std::numeric_limits<float>::infinity() : 0.0F);
      return;
    }
    if (!is_maximum_)
      place.divisor = static_cast<float>(counts_pads_ ? rows.counted * cols.counted : rows.count * cols.count);
    run.loops.pool(place, run.floats(x_) + from, run.floats(y_) + to);
  }

  bool is_maximum_, counts_pads_;
  Window::Plane plane_;
  ImageExtents made_;
  View x_, y_;
};

class SoftmaxStep final : public Step {
 public:
  SoftmaxStep(const View& x, const View& y) : x_(x), y_(y) {}
  std::string_view name() const override { return "softmax"; }
  void run(const Run& run) const override {
    const std::size_t length = static_cast<std::size_t>(y_.extents.back()),
                      count = static_cast<std::size_t>(numbers_of(y_.extents));
    const TrainingLoops& loops = training_loops(run.machine.isa);
    float* const y = run.floats(y_);
    std::memcpy(y, run.floats(x_), count * sizeof(float));
    for (std::size_t i = 0; i < count; i += length)
      loops.softmax(y + i, length, 1, -std::numeric_limits<float>::infinity());
  }

 private:
  View x_, y_;
};

class ReferenceStep final : public Step {
 public:
  explicit ReferenceStep(ReferenceCall call) : call_(std::move(call)) {}
  std::string_view name() const override { return operation_name(call_.operation); }
  void run(const Run& run) const override {
    Operands operands{.tokens = call_.shapes.empty() ? 1 : static_cast<std::size_t>(rows_of(call_.shapes[0])),
                      .inputs = {},
                      .ids = {},
                      .weight = call_.weight,
                      .pool = &run.machine.pool};
    for (const View& input : call_.inputs)
      operands.inputs.emplace_back(run.floats(input), static_cast<std::size_t>(numbers_of(input.extents)));
    const std::span<float> output(run.floats(call_.output), static_cast<std::size_t>(numbers_of(call_.output.extents)));
    std::visit([&](const auto& op) { op.evaluate(operands, call_.shapes, output); }, call_.operation);
  }

 private:
  ReferenceCall call_;
};

std::optional<PointCall> call_of(const Unary& op) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  switch (op.kind) {
    case Unary::Kind::relu:
      return PointCall{PointFunction::clip, 0, kInfinity};
    case Unary::Kind::clip:
      return PointCall{PointFunction::clip, op.a, op.b};
    case Unary::Kind::leaky_relu:
      return PointCall{PointFunction::leaky_relu, op.a, 0};
    case Unary::Kind::hard_sigmoid:
      return PointCall{PointFunction::hard_sigmoid, op.a, op.b};
    case Unary::Kind::hard_swish:
      return PointCall{PointFunction::hard_swish};
    case Unary::Kind::tanh:
      return PointCall{PointFunction::tanh};
    case Unary::Kind::reciprocal:
      return PointCall{PointFunction::reciprocal};
    case Unary::Kind::negative:
      return PointCall{PointFunction::negative};
    case Unary::Kind::absolute:
      return PointCall{PointFunction::absolute};
    default:
      return std::nullopt;
  }
}

}  // namespace

std::optional<PointCall> point_call(const Operation& operation) {
  if (const auto* const unary = std::get_if<Unary>(&operation)) return call_of(*unary);
  if (std::holds_alternative<Sigmoid>(operation)) return PointCall{PointFunction::sigmoid};
  if (std::holds_alternative<Silu>(operation)) return PointCall{PointFunction::silu};
  return std::nullopt;
}

std::optional<PairFunction> pair_call(const Operation& operation) {
  if (std::holds_alternative<Add>(operation)) return PairFunction::add;
  if (std::holds_alternative<Multiply>(operation)) return PairFunction::multiply;
  const auto* const binary = std::get_if<Binary>(&operation);
  if (binary == nullptr) return std::nullopt;
  switch (binary->kind) {
    case Binary::Kind::add:
      return PairFunction::add;
    case Binary::Kind::subtract:
      return PairFunction::subtract;
    case Binary::Kind::multiply:
      return PairFunction::multiply;
    case Binary::Kind::divide:
      return PairFunction::divide;
    default:  // of numbers that are none, the smaller and the larger are not what a loop makes of them
      return std::nullopt;
  }
}

StepPointer move_step(const View& x, const View& y) { return std::make_unique<MoveStep>(x, y); }
StepPointer fill_step(BufferId buffer, std::size_t numbers, float value) {
  return std::make_unique<FillStep>(buffer, numbers, value);
}
StepPointer border_step(const View& view, const Border& border, std::uint8_t code) {
  return std::make_unique<BorderStep>(view, border, code);
}
StepPointer point_step(const PointCall& call, const View& x, const View& y) {
  return std::make_unique<PointStep>(call, x, y);
}
StepPointer gelu_step(const View& x, const View& y) { return std::make_unique<GeluStep>(x, y); }
StepPointer pair_step(PairFunction function, const View& a, const View& b, const View& y) {
  return std::make_unique<PairStep>(function, a, b, y);
}
StepPointer pool_step(const Pooling& pooling, const Dimensions& shape, const View& x, const View& y) {
  return std::make_unique<PoolStep>(pooling, shape, x, y);
}
StepPointer softmax_step(const View& x, const View& y) { return std::make_unique<SoftmaxStep>(x, y); }
StepPointer reference_step(ReferenceCall call) { return std::make_unique<ReferenceStep>(std::move(call)); }

}  // namespace nibble::net_engine
