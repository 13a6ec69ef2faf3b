// SPDX-License-Identifier: Apache-2.0
//
// Norms over a batch: by channel with what the batch itself has, by channel with what is stored, by sample.
#include <cmath>

#include "graph/extents.h"
#include "train/net/batch_node.h"
#include "train/net/batch_products.h"

namespace nibble {
namespace {

// x: [images, channels, plane].
struct Planes {
  std::size_t images, channels, plane;
  explicit Planes(const BatchNode& node) {
    const Dimensions& x = node.shapes[0];
    images = node.samples * static_cast<std::size_t>(x[0].extent);
    channels = static_cast<std::size_t>(x[1].extent);
    plane = static_cast<std::size_t>(numbers_of(x) / x[0].extent) / channels;
  }
  double count() const { return static_cast<double>(images * plane); }
  // use(place) of every number of a channel.
  template <class Use>
  void each(std::size_t channel, Use&& use) const {
    for (std::size_t image = 0; image < images; ++image) {
      const std::size_t first = (image * channels + channel) * plane;
      for (std::size_t i = first; i < first + plane; ++i) use(i);
    }
  }
};

}  // namespace

NormOfBatch evaluate_norm(const BatchNode& node, std::span<float> output, Machine& machine) {
  const auto& op = std::get<BatchNorm>(node.operation);
  const Planes p(node);
  const std::span<const float> x = node.inputs[0].numbers, gain = node.weight(op.part),
                               bias = node.weight(op.part + ".bias");
  NormOfBatch norm{std::vector<double>(p.channels), std::vector<double>(p.channels)};
  machine.pool.parallel_for(p.channels, 1, [&](std::size_t begin, std::size_t end, std::size_t) {
    for (std::size_t c = begin; c < end; ++c) {
      double sum = 0, squares = 0;
      p.each(c, [&](std::size_t i) { sum += static_cast<double>(x[i]); });
      const double mean = sum / p.count();
      p.each(c, [&](std::size_t i) {
        const double d = static_cast<double>(x[i]) - mean;
        squares += d * d;
      });
      norm.mean[c] = mean;
      norm.variance[c] = squares / p.count();
      const double factor =
          static_cast<double>(gain[c]) / std::sqrt(norm.variance[c] + static_cast<double>(op.epsilon));
      p.each(c, [&](std::size_t i) {
        output[i] = static_cast<float>((static_cast<double>(x[i]) - mean) * factor + static_cast<double>(bias[c]));
      });
    }
  });
  return norm;
}

void add_norm_gradients(const BatchNode& node, const NormOfBatch& norm, const BatchGradients& into, Machine& machine) {
  const auto& op = std::get<BatchNorm>(node.operation);
  const Planes p(node);
  const std::span<const float> x = node.inputs[0].numbers, gain = node.weight(op.part), dy = into.output;
  const std::span<float> by_x = into.inputs[0], by_gain = into.weight(op.part),
                         by_bias = into.weight(op.part + ".bias");
  machine.pool.parallel_for(p.channels, 1, [&](std::size_t begin, std::size_t end, std::size_t) {
    for (std::size_t c = begin; c < end; ++c) {
      const double inverse = 1 / std::sqrt(norm.variance[c] + static_cast<double>(op.epsilon)), mean = norm.mean[c];
      double sum = 0, product = 0;  // of the gradient, and of it with the number as it is normed
      p.each(c, [&](std::size_t i) {
        sum += static_cast<double>(dy[i]);
        product += static_cast<double>(dy[i]) * (static_cast<double>(x[i]) - mean) * inverse;
      });
      if (!by_bias.empty()) by_bias[c] += static_cast<float>(sum);
      if (!by_gain.empty()) by_gain[c] += static_cast<float>(product);
      if (by_x.empty()) continue;
      const double factor = static_cast<double>(gain[c]) * inverse;
      p.each(c, [&](std::size_t i) {
        const double normed = (static_cast<double>(x[i]) - mean) * inverse;
        by_x[i] +=
            static_cast<float>(factor * (static_cast<double>(dy[i]) - sum / p.count() - normed * product / p.count()));
      });
    }
  });
}

void add_gradients(const BatchNorm& op, const BatchNode& node, const BatchGradients& into, Machine& machine) {
  const Planes p(node);
  const std::span<const float> x = node.inputs[0].numbers, gain = node.weight(op.part),
                               mean = node.weight(op.part + ".mean"), variance = node.weight(op.part + ".variance"),
                               dy = into.output;
  const std::span<float> by_x = into.inputs[0], by_gain = into.weight(op.part),
                         by_bias = into.weight(op.part + ".bias");
  machine.pool.parallel_for(p.channels, 1, [&](std::size_t begin, std::size_t end, std::size_t) {
    for (std::size_t c = begin; c < end; ++c) {
      const double inverse = 1 / std::sqrt(static_cast<double>(variance[c]) + static_cast<double>(op.epsilon));
      double sum = 0, product = 0;
      p.each(c, [&](std::size_t i) {
        sum += static_cast<double>(dy[i]);
        product += static_cast<double>(dy[i]) * (static_cast<double>(x[i]) - static_cast<double>(mean[c])) * inverse;
        if (!by_x.empty())
          by_x[i] += static_cast<float>(static_cast<double>(dy[i]) * static_cast<double>(gain[c]) * inverse);
      });
      if (!by_bias.empty()) by_bias[c] += static_cast<float>(sum);
      if (!by_gain.empty()) by_gain[c] += static_cast<float>(product);
    }
  });
}

void add_gradients(const LayerNorm& op, const BatchNode& node, const BatchGradients& into, Machine&) {
  const std::span<const float> x = node.inputs[0].numbers, dy = into.output;
  const std::span<const float> gain = op.part.empty() ? std::span<const float>{} : node.weight(op.part);
  const std::span<float> by_x = into.inputs[0], by_gain = op.part.empty() ? std::span<float>{} : into.weight(op.part),
                         by_bias = op.has_bias ? into.weight(op.part + ".bias") : std::span<float>{};
  std::size_t width = 1;
  for (std::size_t d = op.axis; d < node.shapes[0].size(); ++d)
    width *= static_cast<std::size_t>(node.shapes[0][d].extent);
  const auto count = static_cast<double>(width);
  for (std::size_t first = 0; first < dy.size(); first += width) {
    double total = 0, squares = 0, sum = 0, product = 0;
    for (std::size_t i = 0; i < width; ++i) total += static_cast<double>(x[first + i]);
    const double mean = total / count;
    const auto centred = [&](std::size_t i) { return static_cast<double>(x[first + i]) - mean; };
    for (std::size_t i = 0; i < width; ++i) squares += centred(i) * centred(i);
    const double inverse = 1 / std::sqrt(squares / count + static_cast<double>(op.epsilon));
    const auto slope = [&](std::size_t i) {
      return static_cast<double>(dy[first + i]) * (gain.empty() ? 1 : static_cast<double>(gain[i]));
    };
    for (std::size_t i = 0; i < width; ++i) {
      sum += slope(i);
      product += slope(i) * centred(i) * inverse;
      if (!by_bias.empty()) by_bias[i] += dy[first + i];
      if (!by_gain.empty()) by_gain[i] += static_cast<float>(static_cast<double>(dy[first + i]) * centred(i) * inverse);
    }
    for (std::size_t i = 0; i < width && !by_x.empty(); ++i)
      by_x[first + i] +=
          static_cast<float>(inverse * (slope(i) - sum / count - centred(i) * inverse * product / count));
  }
}

}  // namespace nibble
