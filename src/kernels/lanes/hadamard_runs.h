// SPDX-License-Identifier: Apache-2.0
//
// Hadamard transforms of runs of channels (linear/hadamard_runs.h), written once for all sets. Lanes: kWidth numbers,
// load, store, add, sub, mul, and `within`, which takes the steps whose partners lie in one register.
#pragma once

#include <cstddef>

namespace nibble::lanes {
namespace {

struct OneLane {
  static constexpr std::size_t kWidth = 1;
  float v;

  static OneLane load(const float* p) { return {*p}; }
  void store(float* p) const { *p = v; }
  friend OneLane add(OneLane a, OneLane b) { return {a.v + b.v}; }
  friend OneLane sub(OneLane a, OneLane b) { return {a.v - b.v}; }
  friend OneLane mul(OneLane a, OneLane b) { return {a.v * b.v}; }
  static OneLane within(OneLane x) { return x; }
};

// size: a multiple of the lanes. Partners are 1, 2, 4, ... apart, in this order.
template <class Lanes>
void transform_run(const float* x, const float* factors, std::size_t size, float* out) {
  constexpr std::size_t kWidth = Lanes::kWidth;
  for (std::size_t i = 0; i < size; i += kWidth)
    Lanes::within(mul(Lanes::load(x + i), Lanes::load(factors + i))).store(out + i);
  for (std::size_t half = kWidth; half < size; half *= 2)
    for (std::size_t i = 0; i < size; i += 2 * half)
      for (std::size_t j = i; j < i + half; j += kWidth) {
        const Lanes a = Lanes::load(out + j), b = Lanes::load(out + j + half);
        add(a, b).store(out + j);
        sub(a, b).store(out + j + half);
      }
}

template <class Lanes>
void transform_runs(const float* x, const float* factors, std::size_t size, std::size_t channels, float* out) {
  for (std::size_t begin = 0; begin < channels; begin += size) {
    if (size >= Lanes::kWidth)
      transform_run<Lanes>(x + begin, factors + begin, size, out + begin);
    else
      transform_run<OneLane>(x + begin, factors + begin, size, out + begin);
  }
}

}  // namespace
}  // namespace nibble::lanes
