// SPDX-License-Identifier: Apache-2.0
//
// Dense algebra of n x n matrices on all processors: operations per second (a multiply-add counts as two; what symmetry
// and triangles spare is not counted) and the share of the peak of the type, measured first in the same run.
//
//   bench_dense --benchmark_filter='syrk/f32/2048'
#include <benchmark/benchmark.h>

#include <cstdio>
#include <string>
#include <vector>

#include "base/random.h"
#include "kernels/dense/dense.h"
#include "kernels/limits.h"

namespace nibble {
namespace {

template <class T>
std::vector<T> numbers(std::size_t count, double scale) {
  std::vector<T> out(count);
  Random random(1);
  for (T& x : out) x = static_cast<T>(scale * (random.uniform() - 0.5));
  return out;
}

template <class T>
std::vector<T> positive_matrix(std::size_t n) {
  std::vector<T> h = numbers<T>(n * n, 1);
  for (std::size_t i = 0; i < n; ++i) h[i * n + i] = static_cast<T>(n);
  return h;
}

// Times `act`, with `prepare` outside the clock.
template <class Prepare, class Act>
void measure(benchmark::State& state, double operations, double peak, Prepare&& prepare, Act&& act) {
  for (auto _ : state) {
    state.PauseTiming();
    prepare();
    state.ResumeTiming();
    act();
  }
  const double total = operations * static_cast<double>(state.iterations());
  state.counters["operations"] = benchmark::Counter(total, benchmark::Counter::kIsRate, benchmark::Counter::kIs1000);
  state.counters["of_peak"] = benchmark::Counter(total / peak, benchmark::Counter::kIsRate);
}

template <class T>
void add_benchmarks(const std::string& type, double peak, Machine& m) {
  const auto add = [](const std::string& name, auto body) {
    benchmark::RegisterBenchmark(name.c_str(), body)->UseRealTime()->Unit(benchmark::kMillisecond);
  };
  for (std::size_t n : {512u, 2048u, 8192u}) {
    const double cube = static_cast<double>(n) * static_cast<double>(n) * static_cast<double>(n);
    const std::string size = "/" + type + "/" + std::to_string(n);
    const auto nothing = [] {};
    add("gemm" + size, [=, &m](benchmark::State& state) {
      const auto a = numbers<T>(n * n, 1), b = numbers<T>(n * n, 1);
      std::vector<T> c(n * n);
      measure(state, 2 * cube, peak, nothing, [&] { gemm(a.data(), b.data(), n, n, n, c.data(), m); });
    });
    add("syrk" + size, [=, &m](benchmark::State& state) {
      const auto x = numbers<T>(n * n, 1);
      std::vector<T> h(n * n);
      measure(state, cube, peak, nothing, [&] { syrk(x.data(), n, n, h.data(), m); });
    });
    add("cholesky" + size, [=, &m](benchmark::State& state) {
      const auto start = positive_matrix<T>(n);
      std::vector<T> h;
      measure(state, cube / 3, peak, [&] { h = start; }, [&] { cholesky(h.data(), n, m); });
    });
    add("invert_lower" + size, [=, &m](benchmark::State& state) {
      const auto start = positive_matrix<T>(n);
      std::vector<T> l;
      measure(state, cube / 3, peak, [&] { l = start; }, [&] { invert_lower(l.data(), n, m); });
    });
  }
}

}  // namespace
}  // namespace nibble

int main(int argc, char** argv) {
  using namespace nibble;
  Machine machine(best_isa(detect_cpu()));
  const double f32 = measure_f32_peak(machine), f64 = measure_f64_peak(machine);
  std::printf("limits with %zu threads: f32 %.0f, f64 %.0f Gop/s\n", machine.pool.num_threads(), f32 * 1e-9,
              f64 * 1e-9);
  add_benchmarks<float>("f32", f32, machine);
  add_benchmarks<double>("f64", f64, machine);
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}
