// SPDX-License-Identifier: Apache-2.0
//
// How fast the scalar code of each format encodes and decodes, on 1 and 2 threads, beside memcpy of the same f32 bytes in the same run.
// GB/s counts the f32 side of either direction.
//
//   bench_formats --benchmark_filter='decode/q4_0'
#include <benchmark/benchmark.h>

#include <cstring>
#include <vector>

#include "base/random.h"
#include "base/thread_pool.h"
#include "format/quantized_tensor.h"

namespace nibble {
namespace {

constexpr std::uint64_t kRows = 256, kCols = 4096;
constexpr std::size_t kRowGrain = 4;

const std::vector<float>& weights() {
  static const std::vector<float> kWeights = [] {
    Random random(1);
    std::vector<float> values(kRows * kCols);
    for (float& value : values) value = static_cast<float>(0.02 * random.normal());
    return values;
  }();
  return kWeights;
}

std::span<const float> row_of(std::uint64_t row) { return std::span(weights()).subspan(row * kCols, kCols); }

QuantizedTensor prepared(const FormatPtr& format, const FitOptions& options) {
  QuantizedTensor tensor(format, kRows, kCols);
  tensor.tensor_grid = format->prepare(weights(), kRows, kCols, {}, options);
  format->pack_tensor(tensor.tensor_grid.get(), tensor.row(0));
  return tensor;
}

void encode_rows(QuantizedTensor& tensor, const FitOptions& options, ThreadPool& pool) {
  pool.parallel_for(kRows, kRowGrain, [&](std::size_t begin, std::size_t end, std::size_t) {
    for (std::size_t row = begin; row < end; ++row)
      tensor.format->encode_row(row_of(row), {}, tensor.tensor_grid.get(), row, options, tensor.row(row));
  });
}

void count_bytes(benchmark::State& state) {
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations()) * static_cast<std::int64_t>(kRows * kCols * sizeof(float)));
}

void encode(benchmark::State& state, const FormatPtr& format, FitRule rule) {
  ThreadPool pool(static_cast<std::size_t>(state.range(0)));
  const FitOptions options{.rule = rule};
  QuantizedTensor tensor = prepared(format, options);
  for (auto _ : state) {
    encode_rows(tensor, options, pool);
    benchmark::DoNotOptimize(tensor.planes[0].data());
  }
  count_bytes(state);
}

void decode(benchmark::State& state, const FormatPtr& format) {
  ThreadPool pool(static_cast<std::size_t>(state.range(0)));
  const FitOptions options{.rule = FitRule::absmax};
  QuantizedTensor tensor = prepared(format, options);
  encode_rows(tensor, options, pool);
  const QuantizedView view = tensor.view();
  std::vector<float> out(kRows * kCols);
  for (auto _ : state) {
    pool.parallel_for(kRows, kRowGrain, [&](std::size_t begin, std::size_t end, std::size_t) {
      for (std::size_t row = begin; row < end; ++row) view.decode_row(row, std::span(out).subspan(row * kCols, kCols));
    });
    benchmark::DoNotOptimize(out.data());
  }
  count_bytes(state);
}

void copy(benchmark::State& state) {
  ThreadPool pool(static_cast<std::size_t>(state.range(0)));
  std::vector<float> out(kRows * kCols);
  for (auto _ : state) {
    pool.parallel_for(kRows, kRowGrain, [&](std::size_t begin, std::size_t end, std::size_t) {
      std::memcpy(&out[begin * kCols], &weights()[begin * kCols], (end - begin) * kCols * sizeof(float));
    });
    benchmark::DoNotOptimize(out.data());
  }
  count_bytes(state);
}

}  // namespace
}  // namespace nibble

int main(int argc, char** argv) {
  using namespace nibble;
  const auto add = [](const std::string& name, auto function) {
    benchmark::RegisterBenchmark(name.c_str(), function)->ArgName("threads")->Arg(1)->Arg(2)->UseRealTime()->Unit(benchmark::kMillisecond);
  };
  add("memcpy", [](benchmark::State& state) { copy(state); });
  for (const FormatPtr& format : list_formats()) {
    add("decode/" + format->name(), [format](benchmark::State& state) { decode(state, format); });
    add("encode/" + format->name() + "/absmax", [format](benchmark::State& state) { encode(state, format, FitRule::absmax); });
    add("encode/" + format->name() + "/automatic", [format](benchmark::State& state) { encode(state, format, FitRule::automatic); });
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
