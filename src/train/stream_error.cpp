// SPDX-License-Identifier: Apache-2.0
#include "train/stream_error.h"

#include <algorithm>
#include <numeric>

#include "base/random.h"
#include "kernels/dense/dense.h"

namespace nibble {
namespace {

constexpr std::size_t kPiece = std::size_t{1} << 14;  // numbers whose sums are added in order
constexpr float kDamping = 0.1F;                      // of F by the identity: channels that no gradient was seen of

// In f64.
template <class NumberAt>
double sum_of_pieces(std::size_t count, ThreadPool& pool, NumberAt number_at) {
  std::vector<double> sums((count + kPiece - 1) / kPiece);
  pool.parallel_for(sums.size(), 1, [&](std::size_t begin, std::size_t end, std::size_t) {
    for (std::size_t piece = begin; piece < end; ++piece)
      for (std::size_t i = piece * kPiece; i < std::min(count, (piece + 1) * kPiece); ++i) sums[piece] += number_at(i);
  });
  return std::accumulate(sums.begin(), sums.end(), 0.0);
}

}  // namespace

StreamError::StreamError(std::span<const float> moment, std::size_t width, ProductArithmetic arithmetic,
                         Machine& machine)
    : width_(width), arithmetic_(arithmetic), machine_(machine), moment_(moment.begin(), moment.end()) {
  if (moment.empty()) return;
  for (std::size_t i = 0; i < width; ++i) moment_[i * width + i] += kDamping;
  for (float& number : moment_) number /= 1 + kDamping;
  root_ = moment_;
  if (cholesky(root_.data(), width, machine) == width) return;
  moment_.clear();  // no moment of gradients: numbers that are none among them
  root_.clear();
}

double StreamError::of(std::span<const float> y, std::span<const float> target, double factor,
                       std::span<float> slopes) {
  if (moment_.empty())
    return sum_of_pieces(y.size(), machine_.pool, [&](std::size_t i) {
      const double error = static_cast<double>(y[i]) - static_cast<double>(target[i]);
      if (!slopes.empty()) slopes[i] = static_cast<float>(2 * factor * error);
      return error * error;
    });
  errors_.resize(y.size());
  turned_.resize(y.size());
  machine_.pool.parallel_for(y.size(), kPiece, [&](std::size_t begin, std::size_t end, std::size_t) {
    for (std::size_t i = begin; i < end; ++i) errors_[i] = y[i] - target[i];
  });
  multiply({errors_.data(), width_}, {moment_.data(), width_}, {y.size() / width_, width_, width_},
           {turned_.data(), width_}, arithmetic_, machine_);
  return sum_of_pieces(y.size(), machine_.pool, [&](std::size_t i) {
    const double turned = static_cast<double>(turned_[i]);
    if (!slopes.empty()) slopes[i] = static_cast<float>(2 * factor * turned);
    return static_cast<double>(errors_[i]) * turned;
  });
}

SizedError StreamError::sized(std::span<const float> y, std::span<const float> target) {
  const double error = of(y, target, 0, {});
  zeros_.resize(target.size());
  return {error, of(target, zeros_, 0, {})};
}

void StreamError::draw(std::uint64_t seed, std::span<float> directions) {
  Random random(seed);
  for (float& one : directions) one = random.uniform() < 0.5 ? -1.0F : 1.0F;
  if (root_.empty()) return;
  turned_.assign(directions.begin(), directions.end());
  multiply({turned_.data(), width_}, {root_.data(), width_, true}, {turned_.size() / width_, width_, width_},
           {directions.data(), width_}, arithmetic_, machine_);
}

std::uint64_t StreamError::bytes(std::uint64_t numbers, std::uint64_t width) {
  return sizeof(float) * (3 * numbers + 2 * width * width);
}

}  // namespace nibble
