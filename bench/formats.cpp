// SPDX-License-Identifier: Apache-2.0
//
// How fast each format encodes (with its default fit) and decodes, on 1 and 2 threads, beside memcpy of the same f32
// bytes in the same run. Prints a table; GB/s counts the f32 side of either direction. NIBBLE_ISA chooses the
// instruction set.
//
//   bench_formats              every format of `nibble formats`
//   bench_formats q4_k q6_k    these
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <span>
#include <string>
#include <vector>

#include "base/random.h"
#include "base/thread_pool.h"
#include "format/quantized_tensor.h"
#include "format/row_tiles.h"
#include "kernels/encode/encoders.h"

namespace nibble {
namespace {

constexpr std::uint64_t kRows = 256, kCols = 4096;
constexpr std::size_t kRowGrain = 4;
constexpr double kBytes = static_cast<double>(kRows * kCols * sizeof(float));
constexpr int kRepeats = 5;

std::vector<float> make_weights() {
  Random random(1);
  std::vector<float> values(kRows * kCols);
  for (float& value : values) value = static_cast<float>(0.02 * random.normal());
  return values;
}

// GB/s of the median of a few calls of work(first row, one past the last), spread over the pool.
template <class Work>
double measure(ThreadPool& pool, Work work) {
  std::vector<double> seconds;
  for (int i = 0; i <= kRepeats; ++i) {  // the first fills caches and tables
    const auto start = std::chrono::steady_clock::now();
    pool.parallel_for(kRows, kRowGrain, [&](std::size_t begin, std::size_t end, std::size_t) { work(begin, end); });
    if (i > 0) seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  std::nth_element(seconds.begin(), seconds.begin() + kRepeats / 2, seconds.end());
  return kBytes / seconds[kRepeats / 2] / 1e9;
}

class Bench {
 public:
  explicit Bench(Isa isa)
      : isa_(isa), weights_(make_weights()), out_(weights_.size()), pools_{ThreadPool(1), ThreadPool(2)} {
    for (std::size_t t = 0; t < 2; ++t)
      memcpy_[t] = measure(pools_[t], [&](std::size_t begin, std::size_t end) {
        std::memcpy(&out_[begin * kCols], &weights_[begin * kCols], (end - begin) * kCols * sizeof(float));
      });
    std::printf("memcpy: %.2f GB/s on 1 thread, %.2f on 2. Encoders and decoders for %s.\n\n", memcpy_[0], memcpy_[1],
                std::string(isa_name(isa)).c_str());
    std::printf("%-20s %28s %28s\n%-20s %9s %9s %8s %9s %9s %8s\n", "", "encode, GB/s", "decode, GB/s", "format",
                "1 thread", "2", "/memcpy", "1 thread", "2", "/memcpy");
  }

  void run(const FormatPtr& plain) {
    const FormatPtr format = with_kernels(plain, isa_);
    if (const RowTiles* const tiles = find_row_tiles(*format)) return run_tiles(*format, *tiles);
    QuantizedTensor tensor(format, kRows, kCols);
    tensor.tensor_grid = format->prepare(weights_, kRows, kCols, {}, {});
    format->pack_tensor(tensor.tensor_grid.get(), tensor.row(0));
    double encode[2], decode[2];
    for (std::size_t t = 0; t < 2; ++t)
      encode[t] = measure(pools_[t], [&](std::size_t begin, std::size_t end) {
        for (std::size_t row = begin; row < end; ++row)
          format->encode_row(std::span(weights_).subspan(row * kCols, kCols), {}, tensor.tensor_grid.get(), row, {},
                             tensor.row(row));
      });
    const QuantizedView view = tensor.view();
    for (std::size_t t = 0; t < 2; ++t)
      decode[t] = measure(pools_[t], [&](std::size_t begin, std::size_t end) {
        for (std::size_t row = begin; row < end; ++row)
          view.decode_row(row, std::span(out_).subspan(row * kCols, kCols));
      });
    std::printf("%-20s %9.3f %9.3f %7.1f%% %9.3f %9.3f %7.1f%%\n", format->name().c_str(), encode[0], encode[1],
                100 * encode[0] / memcpy_[0], decode[0], decode[1], 100 * decode[0] / memcpy_[0]);
    std::fflush(stdout);
  }

 private:
  // The choice of codes alone, which takes the time.
  void run_tiles(const Format& format, const RowTiles& tiles) {
    const std::size_t step = format.info().row_unit, unit = format.info().unit;
    double encode[2];
    for (std::size_t t = 0; t < 2; ++t)
      encode[t] = measure(pools_[t], [&](std::size_t begin, std::size_t end) {
        const auto coder = tiles.make_coder();
        std::vector<float> grids(step, 0.0005F), targets(step * unit), stored(step * unit);
        std::vector<Code> codes(step);
        // As many weights as the rows have; which ones they are does not matter.
        for (std::size_t at = begin * kCols; at < end * kCols; at += step * unit)
          coder->nearest(reinterpret_cast<const std::byte*>(grids.data()), sizeof(float), step, &weights_[at], nullptr,
                         codes.data(), stored.data());
      });
    std::printf("%-20s %9.3f %9.3f %7.1f%%\n", format.name().c_str(), encode[0], encode[1],
                100 * encode[0] / memcpy_[0]);
    std::fflush(stdout);
  }

  Isa isa_;
  std::vector<float> weights_, out_;
  ThreadPool pools_[2];
  double memcpy_[2] = {};
};

}  // namespace
}  // namespace nibble

int main(int argc, char** argv) {
  using namespace nibble;
  try {
    const char* const isa = std::getenv("NIBBLE_ISA");
    std::vector<FormatPtr> formats;
    for (int i = 1; i < argc; ++i) formats.push_back(find_format(argv[i]));
    if (formats.empty()) formats = list_formats();
    Bench bench(choose_isa(detect_cpu(), isa == nullptr ? "" : isa));
    for (const FormatPtr& format : formats) bench.run(format);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench_formats: %s\n", error.what());
    return 1;
  }
  return 0;
}
