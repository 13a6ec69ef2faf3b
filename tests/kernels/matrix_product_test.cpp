// SPDX-License-Identifier: Apache-2.0
//
// Products with either factor transposed. In f32 the definition, one chain of fused multiply-adds, is met bit for bit
// on every set; in bf16 products of small whole numbers are exact, and others within what rounding the factors can do.
#include "kernels/dense/matrix_product.h"

#include <algorithm>

#include "kernels/kernel_sets.h"

namespace nibble {
namespace {

constexpr float kUntouched = -12345;

// A factor in memory, in rows that are further apart than they are long.
struct Stored {
  std::vector<float> numbers;
  std::size_t rows, cols, stride;
  bool is_transposed;

  Stored(const std::vector<float>& matrix, std::size_t height, std::size_t width, bool lies_transposed)
      : rows(height), cols(width), stride((lies_transposed ? height : width) + 3), is_transposed(lies_transposed) {
    numbers.assign((lies_transposed ? width : height) * stride, NAN);
    for (std::size_t i = 0; i < rows; ++i)
      for (std::size_t j = 0; j < cols; ++j)
        numbers[is_transposed ? j * stride + i : i * stride + j] = matrix[i * width + j];
  }
  Factor factor() const { return {numbers.data(), stride, is_transposed}; }
};

enum class Caller { all_threads, alone };

std::vector<float> product(const Stored& left, const Stored& right, const std::vector<float>& before, bool is_added,
                           ProductArithmetic arithmetic, Machine& machine, Caller caller = Caller::all_threads) {
  const ProductExtents extents = {left.rows, right.cols, left.cols};
  const std::size_t stride = extents.cols + 5;
  std::vector<float> result(extents.rows * stride, kUntouched);
  for (std::size_t i = 0; i < extents.rows; ++i)
    std::copy_n(&before[i * extents.cols], extents.cols, &result[i * stride]);
  const ProductResult into = {result.data(), stride, is_added};
  if (caller == Caller::all_threads) {
    multiply(left.factor(), right.factor(), extents, into, arithmetic, machine);
  } else {
    KernelScratch room;
    multiply_alone(left.factor(), right.factor(), extents, into, arithmetic, machine.isa,
                   room.reserve(product_room(extents, arithmetic)));
  }
  std::vector<float> dense;
  for (std::size_t i = 0; i < extents.rows; ++i)
    for (std::size_t j = 0; j < stride; ++j)
      if (j < extents.cols)
        dense.push_back(result[i * stride + j]);
      else
        EXPECT_EQ(result[i * stride + j], kUntouched);
  return dense;
}

std::vector<float> defined(const std::vector<float>& a, const std::vector<float>& b, const ProductExtents& e,
                           const std::vector<float>& before, bool is_added) {
  std::vector<float> c(e.rows * e.cols);
  for (std::size_t i = 0; i < e.rows; ++i)
    for (std::size_t j = 0; j < e.cols; ++j) {
      float sum = is_added ? before[i * e.cols + j] : 0;
      for (std::size_t k = 0; k < e.depth; ++k) sum = std::fma(a[i * e.depth + k], b[k * e.cols + j], sum);
      c[i * e.cols + j] = sum;
    }
  return c;
}

const std::vector<ProductExtents> kSizes = {{1, 1, 1},     {1, 64, 2},     {5, 3, 7},      {6, 64, 256},  {7, 65, 257},
                                            {33, 130, 31}, {200, 70, 300}, {17, 128, 513}, {193, 191, 64}};

TEST(MatrixProduct, IsItsDefinitionInF32) {
  for (const ProductExtents& e : kSizes) {
    const auto a = normal_numbers(e.rows * e.depth, 1), b = normal_numbers(e.depth * e.cols, 2),
               before = normal_numbers(e.rows * e.cols, 3);
    for (const bool is_added : {false, true}) {
      const std::vector<float> expected = defined(a, b, e, before, is_added);
      for (const int transposed : {0, 1, 2, 3}) {
        const Stored left(a, e.rows, e.depth, transposed % 2 != 0), right(b, e.depth, e.cols, transposed / 2 != 0);
        for (const Isa isa : runnable_sets())
          for (const std::size_t threads : {1u, 3u}) {
            Machine machine(isa, threads);
            for (const Caller caller : {Caller::all_threads, Caller::alone})
              EXPECT_TRUE(
                  same_bits(product(left, right, before, is_added, ProductArithmetic::f32, machine, caller), expected))
                  << isa_name(isa) << ' ' << e.rows << ' ' << e.cols << ' ' << e.depth << ' ' << transposed;
          }
      }
    }
  }
}

std::vector<float> whole_numbers(std::size_t count, std::uint64_t seed) {
  Random random(seed);
  std::vector<float> x(count);
  for (float& v : x) v = static_cast<float>(static_cast<std::int64_t>(random.next() % 17) - 8);
  return x;
}

// Every sum fits f32's 24 bits: whatever the order, the bits are those of the whole number.
std::vector<float> exact(const std::vector<float>& a, const std::vector<float>& b, const ProductExtents& e) {
  std::vector<std::int32_t> sums(e.rows * e.cols);
  for (std::size_t i = 0; i < e.rows; ++i)
    for (std::size_t k = 0; k < e.depth; ++k)
      for (std::size_t j = 0; j < e.cols; ++j)
        sums[i * e.cols + j] +=
            static_cast<std::int32_t>(a[i * e.depth + k]) * static_cast<std::int32_t>(b[k * e.cols + j]);
  return std::vector<float>(sums.begin(), sums.end());
}

// f32 everywhere, bf16 where it is.
std::vector<ProductArithmetic> arithmetics(Isa isa) {
  if (!multiplies_bf16(isa)) return {ProductArithmetic::f32};
  return {ProductArithmetic::f32, ProductArithmetic::bf16};
}

// Blocks of rows, columns and depth meet at 4096.
TEST(MatrixProduct, OfWholeNumbersIsExact) {
  std::vector<ProductExtents> sizes = kSizes;
  for (const ProductExtents& large : {ProductExtents{4099, 6, 9}, {5, 4200, 10}, {3, 66, 8201}, {4100, 4101, 3}})
    sizes.push_back(large);
  Machine machine(best_isa(detect_cpu()), 2);
  for (const ProductExtents& e : sizes) {
    const auto a = whole_numbers(e.rows * e.depth, 1), b = whole_numbers(e.depth * e.cols, 2);
    const std::vector<float> expected = exact(a, b, e), before(e.rows * e.cols, NAN);
    for (const int transposed : {0, 1, 2, 3})
      for (const ProductArithmetic arithmetic : arithmetics(machine.isa)) {
        const Stored left(a, e.rows, e.depth, transposed % 2 != 0), right(b, e.depth, e.cols, transposed / 2 != 0);
        EXPECT_TRUE(product(left, right, before, false, arithmetic, machine) == expected)
            << e.rows << ' ' << e.cols << ' ' << e.depth << ' ' << transposed;
      }
  }
}

// Factors are rounded by at most 2^-8 of themselves each (Higham, section 2.1, for 8 bits), and sums as f32 rounds.
TEST(MatrixProduct, InBf16IsWithinItsRounding) {
  const Isa isa = best_isa(detect_cpu());
  if (!multiplies_bf16(isa)) GTEST_SKIP() << "no bf16 products here";
  for (const ProductExtents& e : kSizes) {
    const auto a = normal_numbers(e.rows * e.depth, 1), w = normal_numbers(e.cols * e.depth, 2);  // [cols, depth]
    std::vector<float> b(w.size());
    for (std::size_t k = 0; k < e.depth; ++k)
      for (std::size_t j = 0; j < e.cols; ++j) b[k * e.cols + j] = w[j * e.depth + k];
    const std::vector<float> before(e.rows * e.cols);
    std::vector<float> first;
    for (const int transposed : {0, 1, 2, 3})
      for (const std::size_t threads : {1u, 3u})
        for (const Caller caller : {Caller::all_threads, Caller::alone}) {
          Machine machine(isa, threads);
          const Stored left(a, e.rows, e.depth, transposed % 2 != 0), right(b, e.depth, e.cols, transposed / 2 != 0);
          const std::vector<float> found =
              product(left, right, before, false, ProductArithmetic::bf16, machine, caller);
          if (first.empty()) first = found;
          EXPECT_TRUE(same_bits(found, first)) << transposed << ' ' << threads;
        }
    EXPECT_TRUE(near_exact(first, a, w, e.cols, 0x1.01p-7 + 2 * chain_bound(e.depth)));
  }
}

TEST(MatrixProduct, OfNothingIsZero) {
  Machine machine(best_isa(detect_cpu()), 1);
  const std::vector<float> x(4, 1);
  std::vector<float> y(4, 7);
  multiply({x.data(), 1}, {x.data(), 2}, {2, 2, 0}, {y.data(), 2, true}, ProductArithmetic::f32, machine);
  EXPECT_EQ(y, std::vector<float>(4, 7));
  multiply({x.data(), 1}, {x.data(), 2}, {2, 2, 0}, {y.data(), 2}, ProductArithmetic::f32, machine);
  EXPECT_EQ(y, std::vector<float>(4, 0));
}

}  // namespace
}  // namespace nibble
