// SPDX-License-Identifier: Apache-2.0
//
// What makes keys and values of a latent vector, turned around: against sums in f64, among instruction sets, for any
// number of tokens at once, from every way in which weights are kept.
#include "kernels/attention/latent_heads.h"

#include <gtest/gtest.h>

#include <cmath>

#include "format/format.h"
#include "kernels/kernel_sets.h"

namespace nibble {
namespace {

constexpr double kUnit = 0x1p-24;  // rounding error of one f32 operation, relative
constexpr std::size_t kTokens = 67;

struct LatentCase {
  LatentHeads::Shape shape;
  std::size_t latent, beside;  // beside: what rows have behind the latent numbers
  const char* format;
};

class EveryShape : public testing::TestWithParam<LatentCase> {
 protected:
  const LatentCase& c_ = GetParam();
  const std::size_t rows_ = c_.shape.heads * (c_.shape.key_dim + c_.shape.value_dim), stride_ = c_.latent + c_.beside;
  Machine machine_{Isa::scalar, 3};
  QuantizedTensor weights_ = encoded();
  std::vector<float> exact_ = weights_.view().decode();
  std::vector<float> queries_ = normal_numbers(kTokens * c_.shape.heads * c_.shape.key_dim, 2),
                     gathered_ = normal_numbers(kTokens * c_.shape.heads * stride_, 3);

  QuantizedTensor encoded() const {
    const std::vector<float> numbers = normal_numbers(rows_ * c_.latent, 1);
    QuantizedTensor tensor(find_format(c_.format), rows_, c_.latent);
    for (std::size_t row = 0; row < rows_; ++row)
      tensor.format->encode_row(std::span(numbers).subspan(row * c_.latent, c_.latent), {}, nullptr, row, {},
                                tensor.row(row));
    return tensor;
  }
  double weight(std::size_t head, std::size_t row, std::size_t column) const {
    return static_cast<double>(exact_[(head * (c_.shape.key_dim + c_.shape.value_dim) + row) * c_.latent + column]);
  }

  struct Made {
    std::vector<float> absorbed, expanded;
    bool operator==(const Made&) const = default;
  };
  // What lies behind the latent numbers stays 7.
  Made run(Isa isa, std::size_t at_once) {
    Machine& machine = with_set(machine_, isa);
    const LatentHeads heads = LatentHeads::pack(weights_.view(), c_.shape, machine);
    Made made{std::vector<float>(kTokens * c_.shape.heads * stride_, 7),
              std::vector<float>(kTokens * c_.shape.heads * c_.shape.value_dim)};
    for (std::size_t t = 0; t < kTokens; t += at_once) {
      const std::size_t count = std::min(at_once, kTokens - t), head = t * c_.shape.heads;
      heads.absorb(queries_.data() + head * c_.shape.key_dim, count, made.absorbed.data() + head * stride_, stride_,
                   machine);
      heads.expand(gathered_.data() + head * stride_, count, stride_, made.expanded.data() + head * c_.shape.value_dim,
                   machine);
    }
    return made;
  }
};
INSTANTIATE_TEST_SUITE_P(All, EveryShape,
                         testing::Values(LatentCase{{2, 24, 20}, 32, 16, "f32"}, LatentCase{{3, 5, 7}, 70, 1, "bf16"},
                                         LatentCase{{1, 300, 64}, 64, 0, "f16"},
                                         LatentCase{{4, 16, 65}, 288, 8, "q8_0"},
                                         LatentCase{{2, 8, 16}, 256, 8, "q4_k"}));

TEST_P(EveryShape, AgreesWithExactArithmetic) {
  const Made made = run(Isa::scalar, kTokens);
  const auto& [heads, key_dim, value_dim] = c_.shape;
  for (std::size_t t = 0; t < kTokens; t += 11)
    for (std::size_t head = 0; head < heads; ++head) {
      const std::size_t at = t * heads + head;
      for (std::size_t j = 0; j < c_.latent; ++j) {
        double sum = 0, magnitude = 0;
        for (std::size_t i = 0; i < key_dim; ++i) {
          const double term = static_cast<double>(queries_[at * key_dim + i]) * weight(head, i, j);
          sum += term;
          magnitude += std::abs(term);
        }
        EXPECT_NEAR(static_cast<double>(made.absorbed[at * stride_ + j]), sum,
                    static_cast<double>(key_dim + 1) * kUnit * magnitude);
      }
      for (std::size_t j = c_.latent; j < stride_; ++j) EXPECT_EQ(made.absorbed[at * stride_ + j], 7.0F);
      for (std::size_t i = 0; i < value_dim; ++i) {
        double sum = 0, magnitude = 0;
        for (std::size_t j = 0; j < c_.latent; ++j) {
          const double term = static_cast<double>(gathered_[at * stride_ + j]) * weight(head, key_dim + i, j);
          sum += term;
          magnitude += std::abs(term);
        }
        EXPECT_NEAR(static_cast<double>(made.expanded[at * value_dim + i]), sum,
                    static_cast<double>(c_.latent + 1) * kUnit * magnitude);
      }
    }
}

TEST_P(EveryShape, HasTheSameBitsInEverySetAndCut) {
  const Made expected = run(Isa::scalar, kTokens);
  for (const Isa isa : runnable_sets())
    for (const std::size_t at_once : {kTokens, std::size_t{1}, std::size_t{8}})
      EXPECT_EQ(run(isa, at_once), expected) << isa_name(isa) << ' ' << at_once;
}

// Numbers that a file has in 16 bits stay so.
TEST_P(EveryShape, TakesWhatItsNumbersTake) {
  const LatentHeads heads = LatentHeads::pack(weights_.view(), c_.shape, machine_);
  const auto panels = [](std::size_t columns) { return (columns + 63) / 64 * 64; };
  const std::size_t numbers =
      c_.shape.heads * (panels(c_.latent) * c_.shape.key_dim + panels(c_.shape.value_dim) * c_.latent);
  const std::string format = c_.format;
  EXPECT_EQ(heads.resident_bytes(), numbers * (format == "f16" || format == "bf16" ? 2 : 4));
}

}  // namespace
}  // namespace nibble
