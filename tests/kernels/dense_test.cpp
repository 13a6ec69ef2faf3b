// SPDX-License-Identifier: Apache-2.0
//
// The definition (one chain of fused multiply-adds, k ascending) is written out here and must be met bit for bit; that
// the definition is the algebra it claims to be is checked against sums in long double, within the bounds of Higham,
// Accuracy and Stability of Numerical Algorithms (2nd edition): gamma_k = k u / (1 - k u).
#include "kernels/dense/dense.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/guarded_buffer.h"
#include "kernels/kernel_sets.h"
#include "kernels/linear/rounded_rows.h"

namespace nibble {
namespace {

template <class T>
std::vector<T> numbers(std::size_t count, std::uint64_t seed) {
  Random random(seed);
  std::vector<T> out(count);
  for (T& x : out) x = static_cast<T>(random.normal());
  return out;
}

template <class T>
long double gamma(std::size_t k) {
  const long double ku = static_cast<long double>(k) * std::numeric_limits<T>::epsilon() / 2;
  return ku / (1 - ku);
}

// x^T x / tokens + diagonal: symmetric, positive definite, well conditioned.
template <class T>
std::vector<T> covariance(std::size_t n, std::uint64_t seed) {
  const std::size_t tokens = 2 * n + 3;
  const std::vector<double> x = numbers<double>(tokens * n, seed);
  std::vector<T> h(n * n);
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t j = 0; j <= i; ++j) {
      double sum = i == j ? 0.1 : 0;
      for (std::size_t t = 0; t < tokens; ++t) sum += x[t * n + i] * x[t * n + j] / static_cast<double>(tokens);
      h[i * n + j] = h[j * n + i] = static_cast<T>(sum);
    }
  return h;
}

template <class T>
bool equal_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

// The same act on every set and on 1 and 3 threads, each from a fresh copy of `start`; `act` gets (data,
// machine).
template <class T, class Act>
void expect_everywhere(const std::vector<T>& start, const std::vector<T>& expected, Act&& act) {
  for (Isa isa : runnable_sets())
    for (std::size_t threads : {1u, 3u}) {
      Machine machine(isa, threads);
      GuardedBuffer<T> data(start);
      act(data.data(), machine);
      EXPECT_TRUE(equal_bits(data.copy(), expected)) << isa_name(isa) << ", threads " << threads;
    }
}

template <class T>
std::vector<T> defined_cholesky(std::vector<T> a, std::size_t n) {
  for (std::size_t j = 0; j < n; ++j)
    for (std::size_t i = 0; i < n; ++i) {
      T sum = a[i * n + j];
      for (std::size_t k = 0; k < j; ++k) sum = std::fma(-a[j * n + k], a[i * n + k], sum);
      if (i >= j) a[i * n + j] = i == j ? std::sqrt(sum) : sum;
      if (i > j) a[i * n + j] /= a[j * n + j];
    }
  for (std::size_t i = 0; i < n; ++i)
    std::fill(a.begin() + static_cast<std::ptrdiff_t>(i * n + i + 1),
              a.begin() + static_cast<std::ptrdiff_t>((i + 1) * n), T(0));
  return a;
}

template <class T>
std::vector<T> defined_inverse(const std::vector<T>& l, std::size_t n) {
  std::vector<T> x(n * n, T(0));
  for (std::size_t j = 0; j < n; ++j)
    for (std::size_t i = j; i < n; ++i) {
      T sum = 0;
      for (std::size_t k = j; k < i; ++k) sum = std::fma(l[i * n + k], x[k * n + j], sum);
      x[i * n + j] = ((i == j ? T(1) : T(0)) - sum) / l[i * n + i];
    }
  return x;
}

template <class T>
class Dense : public ::testing::Test {};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(Dense, Types);

struct Shape {
  std::size_t m, n, k;
};

TYPED_TEST(Dense, GemmIsAChainPerElementAndNearTheExactProduct) {
  using T = TypeParam;
  for (const Shape s : {Shape{1, 1, 1},
                        {3, 5, 7},
                        {1, 130, 64},
                        {7, 64, 1},
                        {65, 63, 257},
                        {193, 70, 300},
                        {200, 577, 513},
                        {4, 4, 0}}) {
    const auto a = numbers<T>(s.m * s.k, 1), b = numbers<T>(s.k * s.n, 2), c = numbers<T>(s.m * s.n, 3);
    std::vector<T> expected = c;
    for (std::size_t i = 0; i < s.m; ++i)
      for (std::size_t j = 0; j < s.n; ++j) {
        T& sum = expected[i * s.n + j];
        long double exact = sum, magnitude = std::fabs(exact);
        for (std::size_t k = 0; k < s.k; ++k) {
          sum = std::fma(a[i * s.k + k], b[k * s.n + j], sum);
          const long double term = static_cast<long double>(a[i * s.k + k]) * b[k * s.n + j];
          exact += term;
          magnitude += std::fabs(term);
        }
        ASSERT_LE(std::fabs(sum - exact), gamma<T>(s.k + 1) * magnitude);
      }
    const GuardedBuffer<T> left(a), right(b);
    expect_everywhere(c, expected,
                      [&](T* out, Machine& machine) { gemm(left.data(), right.data(), s.m, s.n, s.k, out, machine); });
  }
}

TYPED_TEST(Dense, OuterProductsAreChainsOverTheTokens) {
  using T = TypeParam;
  for (const Shape s : {Shape{1, 1, 1}, {3, 5, 7}, {130, 64, 1}, {65, 63, 257}, {577, 70, 300}}) {
    const auto y = numbers<T>(s.k * s.m, 1), x = numbers<T>(s.k * s.n, 2), c = numbers<T>(s.m * s.n, 3);
    std::vector<T> expected = c;
    for (std::size_t i = 0; i < s.m; ++i)
      for (std::size_t j = 0; j < s.n; ++j)
        for (std::size_t t = 0; t < s.k; ++t)
          expected[i * s.n + j] = std::fma(y[t * s.m + i], x[t * s.n + j], expected[i * s.n + j]);
    const GuardedBuffer<T> left(y), right(x);
    expect_everywhere(c, expected, [&](T* out, Machine& machine) {
      add_outer_products(left.data(), right.data(), s.k, s.m, s.n, out, machine);
    });
  }
}

template <class S, class T>
void check_syrk(std::size_t tokens, std::size_t n) {
  const auto x = numbers<S>(tokens * n, tokens);
  const auto start = covariance<T>(n, 5);
  std::vector<T> expected = start;
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t j = 0; j < n; ++j)
      for (std::size_t t = 0; t < tokens; ++t)
        expected[i * n + j] = std::fma(static_cast<T>(x[t * n + i]), static_cast<T>(x[t * n + j]), expected[i * n + j]);
  // Only the lower triangle counts.
  std::vector<T> lower = start;
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t j = i + 1; j < n; ++j) lower[i * n + j] = std::numeric_limits<T>::quiet_NaN();
  const GuardedBuffer<S> in(x);
  expect_everywhere(lower, expected, [&](T* h, Machine& machine) {
    syrk(in.data(), tokens, n, h, machine);
    mirror_lower(h, n, machine.pool);
  });
}

TYPED_TEST(Dense, SyrkIsAChainPerElementAndSymmetric) {
  for (const auto& [tokens, n] :
       {std::pair<std::size_t, std::size_t>{1, 1}, {5, 3}, {64, 64}, {300, 65}, {17, 200}, {257, 391}, {3, 577}})
    check_syrk<TypeParam, TypeParam>(tokens, n);
}

// What RoundedRows::assign is defined as.
struct DefinedRounding {
  std::vector<int> codes;  // [rows, cols]
  std::vector<float> scales;
  DefinedRounding(const std::vector<float>& x, std::size_t rows, std::size_t cols) : codes(x.size()), scales(cols) {
    for (std::size_t j = 0; j < cols; ++j) {
      float peak = 0;
      for (std::size_t t = 0; t < rows; ++t) peak = std::max(peak, std::fabs(x[t * cols + j]));
      scales[j] = peak / 127;
      for (std::size_t t = 0; t < rows && peak > 0; ++t)
        codes[t * cols + j] = static_cast<int>(std::nearbyint(x[t * cols + j] * (127 / peak)));
    }
  }
};

TEST(DenseRounded, ProductsAreExactSumsOfIntegersForEvery512Rows) {
  for (const Shape s : {Shape{1, 1, 1}, {3, 7, 5}, {64, 64, 64}, {65, 130, 513}, {600, 66, 512}}) {
    const std::size_t m = s.m, n = s.n, tokens = s.k;
    auto y = numbers<float>(tokens * m, 1), x = numbers<float>(tokens * n, 2);
    for (std::size_t t = 0; t < tokens; ++t) x[t * n] = 0;                       // a column of zeros
    for (std::size_t t = 0; t < tokens; ++t) x[t * n + n - 1] = t % 2 ? -3 : 3;  // and one of largest numbers
    const DefinedRounding left(y, tokens, m), right(x, tokens, n);
    const auto start = numbers<float>(m * n, 3);
    std::vector<float> expected = start;
    for (std::size_t i = 0; i < m; ++i)
      for (std::size_t j = 0; j < n; ++j)
        for (std::size_t first = 0; first < tokens; first += 512) {
          std::int64_t sum = 0;
          for (std::size_t t = first; t < std::min(tokens, first + 512); ++t)
            sum += left.codes[t * m + i] * right.codes[t * n + j];
          ASSERT_LT(std::abs(sum), std::int64_t{1} << 24);
          expected[i * n + j] =
              std::fma(left.scales[i] * right.scales[j], static_cast<float>(sum), expected[i * n + j]);
        }
    expect_everywhere(start, expected, [&](float* out, Machine& machine) {
      RoundedRows rounded_y, rounded_x;
      rounded_y.assign(y.data(), tokens, m, machine.pool);
      rounded_x.assign(x.data(), tokens, n, machine.pool);
      add_outer_products(rounded_y, rounded_x, out, machine);
    });
  }
}

TEST(DenseRounded, SyrkIsTheLowerTriangleOfTheOuterProducts) {
  for (const auto& [tokens, n] : {std::pair<std::size_t, std::size_t>{3, 5}, {512, 200}, {700, 577}}) {
    const auto x = numbers<float>(tokens * n, 7);
    for (const Isa isa : runnable_sets()) {
      Machine machine(Isa::scalar, 3);
      RoundedRows rounded;
      rounded.assign(x.data(), tokens, n, machine.pool);
      std::vector<float> whole(n * n), lower(n * n);
      add_outer_products(rounded, rounded, whole.data(), with_set(machine, isa));
      syrk(rounded, lower.data(), with_set(machine, isa));
      mirror_lower(lower.data(), n, machine.pool);
      EXPECT_TRUE(equal_bits(lower, whole)) << isa_name(isa) << ", n " << n;
    }
  }
}

TEST(DenseMixed, SyrkOfF32SumsInF64) { check_syrk<float, double>(300, 200); }

TYPED_TEST(Dense, CholeskyIsDefinedBitForBitAndGivesTheMatrixBack) {
  using T = TypeParam;
  for (std::size_t n : {1u, 2u, 17u, 63u, 64u, 65u, 129u, 333u}) {
    const auto h = covariance<T>(n, n);
    const auto expected = defined_cholesky(h, n);
    // Theorem 10.3: |A - L L^T| <= gamma_{n+1} |L| |L^T|.
    for (std::size_t i = 0; i < n; ++i)
      for (std::size_t j = 0; j <= i; ++j) {
        long double exact = 0, magnitude = 0;
        for (std::size_t k = 0; k <= j; ++k) {
          const long double term = static_cast<long double>(expected[i * n + k]) * expected[j * n + k];
          exact += term;
          magnitude += std::fabs(term);
        }
        ASSERT_LE(std::fabs(h[i * n + j] - exact), gamma<T>(n + 1) * magnitude) << "n " << n;
      }
    std::vector<T> lower = h;
    for (std::size_t i = 0; i < n; ++i)
      for (std::size_t j = i + 1; j < n; ++j) lower[i * n + j] = std::numeric_limits<T>::quiet_NaN();
    expect_everywhere(lower, expected, [&](T* a, Machine& machine) { EXPECT_EQ(cholesky(a, n, machine), n); });
  }
}

TYPED_TEST(Dense, CholeskyNamesThePivotThatFails) {
  using T = TypeParam;
  constexpr std::size_t kSize = 150;
  Machine machine(Isa::scalar, 2);
  for (std::size_t bad : {0u, 5u, 64u, 149u})
    for (T value : {T(-1), std::numeric_limits<T>::quiet_NaN(), std::numeric_limits<T>::infinity()}) {
      auto h = covariance<T>(kSize, 4);
      h[bad * kSize + bad] = value;
      auto reversed = h;
      EXPECT_EQ(cholesky(h.data(), kSize, with_set(machine, runnable_sets().back())), bad);
      EXPECT_EQ(inverse_upper_factor(reversed.data(), kSize, with_set(machine, runnable_sets().back())), bad);
    }
  std::vector<T> zeros(9, T(0));
  EXPECT_EQ(cholesky(zeros.data(), 3, with_set(machine, Isa::scalar)), 0u);
}

TYPED_TEST(Dense, InverseIsDefinedBitForBitAndSolvesTheColumns) {
  using T = TypeParam;
  for (std::size_t n : {1u, 2u, 17u, 63u, 64u, 65u, 129u, 700u}) {
    auto l = numbers<T>(n * n, n);
    for (std::size_t i = 0; i < n; ++i) {
      for (std::size_t j = 0; j < n; ++j) l[i * n + j] /= static_cast<T>(n);
      l[i * n + i] = i % 3 == 0 ? T(-1.5) : T(1.25);
      std::fill(l.begin() + static_cast<std::ptrdiff_t>(i * n + i + 1),
                l.begin() + static_cast<std::ptrdiff_t>((i + 1) * n), T(0));
    }
    const auto expected = defined_inverse(l, n);
    // Section 14.2.1 (each column by substitution, Theorem 8.5): |L X - I| <= gamma_n |L| |X|.
    for (std::size_t i = 0; i < n && n < 200; ++i)
      for (std::size_t j = 0; j <= i; ++j) {
        long double exact = 0, magnitude = 0;
        for (std::size_t k = j; k <= i; ++k) {
          const long double term = static_cast<long double>(l[i * n + k]) * expected[k * n + j];
          exact += term;
          magnitude += std::fabs(term);
        }
        ASSERT_LE(std::fabs(exact - (i == j ? 1 : 0)), gamma<T>(n) * magnitude) << "n " << n;
      }
    expect_everywhere(l, expected, [&](T* a, Machine& machine) { invert_lower(a, n, machine); });
  }
}

// U is the reversed inverse of the reversed factor, bit for bit, and U^T U h is near I: both steps are backward stable,
// so that the residual is at most a small multiple of n u |h^-1| |h| (Higham, section 14.3); 8 covers the constants.
TYPED_TEST(Dense, InverseUpperFactorGivesTheInverse) {
  using T = TypeParam;
  for (std::size_t n : {1u, 3u, 64u, 65u, 200u}) {
    const auto h = covariance<T>(n, n + 1);
    std::vector<T> u(h.rbegin(), h.rend());
    u = defined_inverse(defined_cholesky(u, n), n);
    std::reverse(u.begin(), u.end());
    auto upper = h;
    for (std::size_t i = 0; i < n; ++i)
      for (std::size_t j = 0; j < i; ++j) upper[i * n + j] = std::numeric_limits<T>::quiet_NaN();
    expect_everywhere(upper, u, [&](T* a, Machine& machine) { EXPECT_EQ(inverse_upper_factor(a, n, machine), n); });

    std::vector<long double> inverse(n * n);
    long double inverse_norm = 0, norm = 0, residual = 0;
    for (std::size_t i = 0; i < n; ++i)
      for (std::size_t j = 0; j < n; ++j) {
        for (std::size_t k = 0; k <= std::min(i, j); ++k)
          inverse[i * n + j] += static_cast<long double>(u[k * n + i]) * u[k * n + j];
        inverse_norm += inverse[i * n + j] * inverse[i * n + j];
        norm += static_cast<long double>(h[i * n + j]) * h[i * n + j];
      }
    for (std::size_t i = 0; i < n; ++i)
      for (std::size_t j = 0; j < n; ++j) {
        long double sum = i == j ? -1 : 0;
        for (std::size_t k = 0; k < n; ++k) sum += inverse[i * n + k] * h[k * n + j];
        residual += sum * sum;
      }
    EXPECT_LE(std::sqrt(residual), 8 * gamma<T>(n) * std::sqrt(inverse_norm * norm)) << "n " << n;
  }
}

}  // namespace
}  // namespace nibble
