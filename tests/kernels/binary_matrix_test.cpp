// SPDX-License-Identifier: Apache-2.0
#include "kernels/linear/binary_matrix.h"

#include "kernels/guarded_buffer.h"
#include "kernels/kernel_sets.h"

namespace nibble {
namespace {

int sign(float x) { return std::signbit(x) ? -1 : 1; }

std::vector<std::int32_t> product(const std::vector<float>& w, std::size_t rows, const std::vector<float>& x,
                                  std::size_t tokens, Isa isa, std::size_t threads) {
  Machine machine(isa, threads);
  const GuardedBuffer<float> weights(w), in(x);
  const GuardedBuffer<std::int32_t> out(tokens * rows);
  const BinaryMatrix matrix = BinaryMatrix::pack(weights.data(), rows, w.size() / rows, machine.pool);
  EXPECT_EQ(matrix.rows(), rows);
  EXPECT_EQ(matrix.cols(), w.size() / rows);
  matrix.multiply(in.data(), tokens, out.data(), machine);
  return out.copy();
}

TEST(BinaryMatrix, IsTheSumOfProductsOfSignsOnEverySet) {
  struct Size {
    std::size_t rows, cols;
  };
  for (const Size size : {Size{1, 1}, {3, 63}, {32, 64}, {33, 65}, {70, 500}, {257, 1000}})
    for (std::size_t tokens : {1u, 2u, 3u, 4u, 5u, 9u, 70u}) {
      const auto w = normal_numbers(size.rows * size.cols, size.cols), x = normal_numbers(tokens * size.cols, tokens);
      std::vector<std::int32_t> expected(tokens * size.rows);
      for (std::size_t t = 0; t < tokens; ++t)
        for (std::size_t n = 0; n < size.rows; ++n)
          for (std::size_t k = 0; k < size.cols; ++k)
            expected[t * size.rows + n] += sign(x[t * size.cols + k]) * sign(w[n * size.cols + k]);
      for (Isa isa : runnable_sets())
        for (std::size_t threads : {1u, 3u})
          EXPECT_EQ(product(w, size.rows, x, tokens, isa, threads), expected)
              << isa_name(isa) << ' ' << size.rows << 'x' << size.cols << ", tokens " << tokens;
    }
}

// All bits differ, none do, and zeros of either sign.
TEST(BinaryMatrix, Extremes) {
  constexpr int kCols = 3 * 64 + 1;
  for (Isa isa : runnable_sets()) {
    EXPECT_EQ(product(std::vector<float>(kCols, -1.0f), 1, std::vector<float>(kCols, 2.0f), 1, isa, 1)[0], -kCols)
        << isa_name(isa);
    EXPECT_EQ(product(std::vector<float>(kCols, -1.0f), 1, std::vector<float>(kCols, -2.0f), 1, isa, 1)[0], kCols)
        << isa_name(isa);
    EXPECT_EQ(product(std::vector<float>(kCols, 0.0f), 1, std::vector<float>(kCols, -0.0f), 1, isa, 1)[0], -kCols)
        << isa_name(isa);
  }
}

TEST(BinaryMatrix, KeepsABitForEachWeight) {
  ThreadPool pool(1);
  EXPECT_EQ(BinaryMatrix::pack(std::vector<float>(64 * 256).data(), 64, 256, pool).resident_bytes(), 64u * 256 / 8);
}

}  // namespace
}  // namespace nibble
