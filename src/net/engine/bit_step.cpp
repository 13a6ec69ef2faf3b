// SPDX-License-Identifier: Apache-2.0
#include "net/engine/bit_step.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "kernels/linear/binary_matrix.h"

namespace nibble::net_engine {
namespace {

constexpr std::size_t kWord = 64;

std::size_t words_of(std::size_t channels) { return (channels + kWord - 1) / kWord; }

// A value as images of rows of places of channels; a Linear's rows are places of one image.
struct Images {
  std::size_t images = 1, rows = 1, cols = 1;
  std::ptrdiff_t image = 0, row = 0, col = 0;  // steps

  Images(const ProductShape& shape, const View& view) {
    if (shape.is_linear) {
      cols = static_cast<std::size_t>(numbers_of(view.extents) / view.extents.back());
      col = static_cast<std::ptrdiff_t>(view.extents.back());
      return;
    }
    const ImageExtents there = ImageExtents::of(view.extents);
    images = there.images;
    rows = there.height;
    cols = there.width;
    image = view.strides[0];
    row = view.strides.size() == 4 ? view.strides[2] : 0;
    col = view.strides.back();
  }
  std::size_t count() const { return images * rows * cols; }
  std::ptrdiff_t at(std::size_t place) const {
    return static_cast<std::ptrdiff_t>(place / (rows * cols)) * image +
           static_cast<std::ptrdiff_t>(place / cols % rows) * row + static_cast<std::ptrdiff_t>(place % cols) * col;
  }
};

void pack(const float* x, std::size_t count, std::uint64_t* to) {
  for (std::size_t first = 0; first < count; first += kWord) {
    std::uint64_t word = 0;
    const std::size_t end = std::min(kWord, count - first);
    for (std::size_t i = 0; i < end; ++i) word |= std::uint64_t{!(x[first + i] >= 0)} << i;
    *to++ = word;
  }
}

class BitStep final : public Step {
 public:
  BitStep(const BitProduct& product, const BitViews& views, std::span<const float> weights, std::span<const float> bias)
      : shape_(product.shape),
        views_(views),
        from_(shape_, views.x),
        to_(shape_, views.y),
        words_(words_of(shape_.inputs)),
        scales_(product.weights.scales.begin(), product.weights.scales.end()),
        biases_(shape_.outputs),
        low_(product.low),
        high_(product.high) {
    for (std::size_t o = 0; o < bias.size(); ++o) biases_[o] = static_cast<double>(bias[o]);
    pack_weights(weights, product.weights.is_ternary);
    find_corrections(weights);
  }

  std::string_view name() const override { return matrices_.size() == 1 ? "binary product" : "ternary product"; }

  void run(const Run& run) const override {
    std::uint64_t* const bits = reinterpret_cast<std::uint64_t*>(run.floats(views_.bits));
    const float* const x = run.floats(views_.x);
    ThreadPool& pool = run.machine.pool;
    const std::size_t grain = std::max<std::size_t>(1, 16384 / std::max<std::size_t>(1, shape_.inputs));
    pool.parallel_for(from_.count(), grain, [&](std::size_t begin, std::size_t end, std::size_t) {
      for (std::size_t place = begin; place < end; ++place)
        pack(x + from_.at(place), shape_.inputs, bits + place * words_);
    });
    const std::uint64_t* seen = bits;
    if (!is_point()) {
      std::uint64_t* const rows = reinterpret_cast<std::uint64_t*>(run.floats(views_.seen));
      pool.parallel_for(to_.count(), grain, [&](std::size_t begin, std::size_t end, std::size_t) {
        for (std::size_t place = begin; place < end; ++place) gather(place, bits, rows + place * row_words());
      });
      seen = rows;
    }
    std::int32_t* const sums = reinterpret_cast<std::int32_t*>(run.floats(views_.sums));
    const std::size_t numbers = to_.count() * shape_.outputs;
    for (std::size_t i = 0; i < matrices_.size(); ++i)
      matrices_[i].multiply_bits(seen, to_.count(), sums + i * numbers, run.machine);
    float* const y = run.floats(views_.y);
    pool.parallel_for(to_.count(), std::max<std::size_t>(1, 16384 / shape_.outputs),
                      [&](std::size_t begin, std::size_t end, std::size_t) {
                        for (std::size_t place = begin; place < end; ++place)
                          finish(place, sums + place * shape_.outputs, numbers, y + to_.at(place));
                      });
  }

 private:
  std::size_t taps() const { return shape_.is_linear ? 1 : shape_.taps(); }
  std::size_t row_words() const { return taps() * words_; }
  // Each place sees itself alone.
  bool is_point() const {
    const Window::Plane& w = shape_.window;
    return shape_.is_linear || (taps() == 1 && w.row_stride == 1 && w.col_stride == 1 && from_.count() == to_.count());
  }

  // Columns are taps, of each the channels up to whole words; what is beyond is +1 on both sides.
  void pack_weights(std::span<const float> weights, bool is_ternary) {
    const std::size_t cols = row_words() * kWord, row = shape_.inputs * taps();
    ThreadPool alone(1);
    for (const float of_zero : is_ternary ? std::vector<float>{1, -1} : std::vector<float>{1}) {
      std::vector<float> signs(shape_.outputs * cols, 1.0F);
      for (std::size_t o = 0; o < shape_.outputs; ++o)
        for (std::size_t c = 0; c < shape_.inputs; ++c)
          for (std::size_t t = 0; t < taps(); ++t) {
            const float w = weights[o * row + c * taps() + t];
            signs[o * cols + t * words_ * kWord + c] = w > 0 ? 1.0F : w < 0 ? -1.0F : of_zero;
          }
      matrices_.push_back(BinaryMatrix::pack(signs.data(), shape_.outputs, cols, alone));
    }
    beyond_ = static_cast<std::int32_t>(cols - row);
  }

  // Taps of a place that lie outside x see +1 where they should see 0: what their weights have added is taken back.
  void find_corrections(std::span<const float> weights) {
    std::map<std::vector<bool>, std::uint32_t> known;
    for (std::size_t place = 0; place < to_.rows * to_.cols; ++place) {
      std::vector<bool> outside(taps());
      for (std::size_t t = 0; t < taps(); ++t) outside[t] = source_of(place, t) < 0;
      const auto [found, is_new] = known.emplace(outside, static_cast<std::uint32_t>(known.size()));
      class_of_.push_back(found->second);
      if (!is_new) continue;
      for (std::size_t o = 0; o < shape_.outputs; ++o) {
        std::int32_t sum = beyond_;
        for (std::size_t c = 0; c < shape_.inputs; ++c)
          for (std::size_t t = 0; t < taps(); ++t) {
            const float w = weights[(o * shape_.inputs + c) * taps() + t];
            if (outside[t]) sum += w > 0 ? 1 : w < 0 ? -1 : 0;
          }
        corrections_.push_back(sum);
      }
    }
  }

  // The place of x that a tap of a place of an image sees, in its image; -1: none.
  std::ptrdiff_t source_of(std::size_t place, std::size_t tap) const {
    if (shape_.is_linear) return static_cast<std::ptrdiff_t>(place);
    const Window::Plane& w = shape_.window;
    const std::ptrdiff_t row = static_cast<std::ptrdiff_t>(place / to_.cols) * w.row_stride - w.top +
                               static_cast<std::ptrdiff_t>(tap / w.tap_cols) * w.row_step,
                         col = static_cast<std::ptrdiff_t>(place % to_.cols) * w.col_stride - w.left +
                               static_cast<std::ptrdiff_t>(tap % w.tap_cols) * w.col_step;
    const bool is_inside = row >= 0 && row < static_cast<std::ptrdiff_t>(from_.rows) && col >= 0 &&
                           col < static_cast<std::ptrdiff_t>(from_.cols);
    return is_inside ? row * static_cast<std::ptrdiff_t>(from_.cols) + col : -1;
  }

  void gather(std::size_t place, const std::uint64_t* bits, std::uint64_t* row) const {
    const std::size_t of_image = to_.rows * to_.cols, first = place / of_image * from_.rows * from_.cols;
    for (std::size_t t = 0; t < taps(); ++t, row += words_) {
      const std::ptrdiff_t source = source_of(place % of_image, t);
      if (source < 0)
        std::fill_n(row, words_, std::uint64_t{0});
      else
        std::copy_n(bits + (first + static_cast<std::size_t>(source)) * words_, words_, row);
    }
  }

  void finish(std::size_t place, const std::int32_t* sums, std::size_t numbers, float* y) const {
    const std::int32_t* const taken = corrections_.data() + class_of_[place % (to_.rows * to_.cols)] * shape_.outputs;
    for (std::size_t o = 0; o < shape_.outputs; ++o) {
      const std::int32_t sum = matrices_.size() == 1 ? sums[o] : (sums[o] + sums[o + numbers]) / 2;
      const auto number = static_cast<float>(scales_[o] * static_cast<double>(sum - taken[o]) + biases_[o]);
      y[o] = std::min(std::max(number, low_), high_);
    }
  }

  ProductShape shape_;
  BitViews views_;
  Images from_, to_;
  std::size_t words_;  // of a place's channels
  std::vector<BinaryMatrix> matrices_;
  std::vector<double> scales_, biases_;
  float low_, high_;
  std::int32_t beyond_ = 0;                // columns that are no channels
  std::vector<std::uint32_t> class_of_;    // by place of an image
  std::vector<std::int32_t> corrections_;  // [classes, outputs]
};

}  // namespace

std::optional<BitWeights> bit_weights(std::span<const float> weights, std::size_t rows) {
  if (rows == 0 || weights.empty()) return std::nullopt;
  BitWeights found;
  const std::size_t cols = weights.size() / rows;
  for (std::size_t row = 0; row < rows; ++row) {
    float scale = 0;
    for (std::size_t col = 0; col < cols; ++col) {
      const float size = std::fabs(weights[row * cols + col]);
      if (size == 0) {
        found.is_ternary = true;
        continue;
      }
      if (scale == 0) scale = size;
      if (size != scale) return std::nullopt;  // NaN, too
    }
    found.scales.push_back(scale);
  }
  return found;
}

BitRoom bit_room(const ProductShape& shape, const View& x, const View& y, bool is_ternary) {
  constexpr std::size_t kFloats = sizeof(std::uint64_t) / sizeof(float);
  const std::size_t words = words_of(shape.inputs), taps = shape.is_linear ? 1 : shape.taps();
  const std::size_t from = Images(shape, x).count(), to = Images(shape, y).count();
  return {.bits = from * words * kFloats,
          .seen = taps == 1 && from == to ? 1 : to * taps * words * kFloats,
          .sums = to * shape.outputs * (is_ternary ? 2 : 1)};
}

StepPointer bit_product(const BitProduct& product, const BitViews& views, std::span<const float> weights,
                        std::span<const float> bias) {
  return std::make_unique<BitStep>(product, views, weights, bias);
}

}  // namespace nibble::net_engine
