// SPDX-License-Identifier: Apache-2.0
//
// Products with every format: `tokens` inputs times a matrix of rows x cols, on one thread or more. Reports operations
// per second and, for single tokens, the bytes of weights read per second; the two limits to hold them against are
// measured first.
//
//   bench_kernels --benchmark_filter='q4_k/8192x2048/1/'
//   NIBBLE_ISA=avx2 taskset -c 0 bench_kernels --benchmark_filter='q4_k/8192x2048'      # on one thread, by processor
//   time
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "base/random.h"
#include "format/row_tiles.h"
#include "kernels/limits.h"
#include "kernels/linear/binary_matrix.h"
#include "kernels/linear/linear.h"

namespace nibble {
namespace {

constexpr std::size_t kMostCopies = 1024;  // each is mapped on its own

struct Case {
  FormatPtr format;
  std::size_t rows, cols, tokens;
  bool is_ordered = false;  // codes have their inputs in another order
};

// One row is quantized and repeated: products take the same time for any numbers.
QuantizedTensor repeated_row(const FormatPtr& format, std::size_t rows, std::size_t cols) {
  QuantizedTensor tensor(format, rows, cols);
  Random random(1);
  if (find_row_tiles(*format) != nullptr) {  // any bits are codes, and small bytes make finite scales
    for (auto& plane : tensor.planes)
      for (std::byte& byte : plane) byte = static_cast<std::byte>(random.below(64));
    return tensor;
  }
  std::vector<float> x(cols);
  for (float& value : x) value = static_cast<float>(random.normal());
  FitOptions options;
  options.rule = FitRule::absmax;
  std::vector<float> whole;
  if (format->needs_prepare())
    for (std::size_t r = 0; r < rows; ++r) whole.insert(whole.end(), x.begin(), x.end());
  const auto grid = format->prepare(whole, whole.size() / cols, cols, {}, options);
  if (grid) format->pack_tensor(grid.get(), tensor.row(0));
  format->encode_row(x, {}, grid.get(), 0, options, tensor.row(0));
  for (std::size_t p = 0; p < tensor.planes.size(); ++p)
    for (std::size_t r = tensor.specs[p].row_unit; r < rows && tensor.specs[p].row_bytes != 0;
         r += tensor.specs[p].row_unit)
      std::memcpy(tensor.row(r)[p], tensor.row(0)[p], tensor.specs[p].row_bytes);
  tensor.tensor_grid = format->unpack_tensor(tensor.view().row(0), rows, cols);
  return tensor;
}

TensorParts random_order(std::size_t cols) {
  TensorParts parts;
  parts.input_order.resize(cols);
  std::iota(parts.input_order.begin(), parts.input_order.end(), 0u);
  Random random(2);
  for (std::size_t c = cols; c-- > 1;) std::swap(parts.input_order[c], parts.input_order[random.below(c + 1)]);
  return parts;
}

void multiply(benchmark::State& state, const Case& c, Machine& machine) {
  QuantizedTensor tensor = repeated_row(c.format, c.rows, c.cols);
  if (c.is_ordered) tensor.parts = std::make_shared<TensorParts>(random_order(c.cols));
  // Single tokens read weights from memory, as a decoder does: as many copies as no cache holds.
  const std::size_t copies =
      c.tokens > 1
          ? 1
          : std::min(kMostCopies, (std::size_t{256} << 20) / static_cast<std::size_t>(tensor.view().bytes()) + 1);
  std::vector<PackedLinear> weights;
  for (std::size_t i = 0; i < copies; ++i)
    weights.push_back(PackedLinear::pack(tensor.view(), {ActivationMode::native}, machine));
  std::vector<float> x(c.tokens * c.cols, 0.5f), y(c.tokens * c.rows);
  std::size_t next = 0;
  for (auto _ : state) {
    weights[next].multiply(x.data(), c.tokens, y.data(), machine);
    next = next + 1 == copies ? 0 : next + 1;
    benchmark::DoNotOptimize(y.data());
  }
  state.SetLabel(weights[0].kernel_name());
  const auto rate = [&](double per_call) {
    return benchmark::Counter(per_call * static_cast<double>(state.iterations()), benchmark::Counter::kIsRate,
                              benchmark::Counter::kIs1000);
  };
  state.counters["operations"] = rate(2.0 * static_cast<double>(c.rows * c.cols * c.tokens));
  if (c.tokens == 1) state.counters["bytes"] = rate(static_cast<double>(tensor.view().bytes()));
}

// Signs times signs, with the signs of the activations taken on the way: to be held against int8:row of the same size.
void multiply_signs(benchmark::State& state, std::size_t rows, std::size_t cols, std::size_t tokens, Machine& machine) {
  const std::vector<float> numbers(rows * cols, 0.5f), x(tokens * cols, 0.5f);
  const std::size_t copies = tokens > 1 ? 1 : std::min(kMostCopies, (std::size_t{256} << 20) / (rows * cols / 8) + 1);
  std::vector<BinaryMatrix> weights;
  for (std::size_t i = 0; i < copies; ++i)
    weights.push_back(BinaryMatrix::pack(numbers.data(), rows, cols, machine.pool));
  std::vector<std::int32_t> y(tokens * rows);
  std::size_t next = 0;
  for (auto _ : state) {
    weights[next].multiply(x.data(), tokens, y.data(), machine);
    next = next + 1 == copies ? 0 : next + 1;
    benchmark::DoNotOptimize(y.data());
  }
  state.counters["operations"] =
      benchmark::Counter(2.0 * static_cast<double>(rows * cols * tokens) * static_cast<double>(state.iterations()),
                         benchmark::Counter::kIsRate, benchmark::Counter::kIs1000);
}

}  // namespace
}  // namespace nibble

int main(int argc, char** argv) {
  using namespace nibble;
  const char* const wanted = std::getenv("NIBBLE_ISA");
  Machine machine(choose_isa(detect_cpu(), wanted == nullptr ? "" : wanted));
  // One thread alone is measured by processor time, so that neighbours count little.
  const auto timed = [&](benchmark::internal::Benchmark* benchmark) {
    if (machine.pool.num_threads() > 1) benchmark->UseRealTime();
  };
  for (const FormatPtr& format : list_formats())
    for (const auto& [rows, cols] : {std::pair<std::size_t, std::size_t>{64, 64},
                                     {256, 256},
                                     {1024, 1024},
                                     {2048, 2048},
                                     {4096, 4096},
                                     {8192, 2048},
                                     {2048, 8192}})
      for (std::size_t tokens : {1u, 8u, 512u}) {
        const Case c{format, rows, cols, tokens};
        const std::string name =
            format->name() + "/" + std::to_string(rows) + "x" + std::to_string(cols) + "/" + std::to_string(tokens);
        timed(benchmark::RegisterBenchmark(name.c_str(),
                                           [c, &machine](benchmark::State& state) { multiply(state, c, machine); }));
      }
  // As GPTQ leaves layers with act-order, and beside them the same without.
  for (const bool is_ordered : {false, true})
    for (const auto& [rows, cols] : {std::pair<std::size_t, std::size_t>{2048, 2048}, {8192, 2048}, {2048, 8192}})
      for (const std::size_t tokens : {1u, 128u}) {
        const Case c{find_format("int4:g128"), rows, cols, tokens, is_ordered};
        const std::string name = std::string(is_ordered ? "act-order/" : "in order/") + std::to_string(rows) + "x" +
                                 std::to_string(cols) + "/" + std::to_string(tokens);
        timed(benchmark::RegisterBenchmark(name.c_str(),
                                           [c, &machine](benchmark::State& state) { multiply(state, c, machine); }));
      }
  for (std::size_t size : {64u, 256u, 1024u, 2048u, 4096u})
    for (std::size_t tokens : {1u, 8u, 512u}) {
      const std::string name =
          "signs/" + std::to_string(size) + "x" + std::to_string(size) + "/" + std::to_string(tokens);
      timed(benchmark::RegisterBenchmark(name.c_str(), [=, &machine](benchmark::State& state) {
        multiply_signs(state, size, size, tokens, machine);
      }));
    }
  benchmark::Initialize(&argc, argv);
  std::printf("limits with %zu threads: int8 %.0f, bf16 %.0f, f32 %.0f Gop/s, read stream %.1f GB/s\n",
              machine.pool.num_threads(), measure_int8_peak(machine) * 1e-9, measure_bf16_peak(machine) * 1e-9,
              measure_f32_peak(machine) * 1e-9, measure_read_stream(machine) * 1e-9);
  benchmark::RunSpecifiedBenchmarks();
}
