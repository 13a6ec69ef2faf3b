// SPDX-License-Identifier: Apache-2.0
//
// Convolution tiles and what stands between them: what they are by definition, and the same bits on every set.
#include "kernels/convolution/convolution.h"

#include <functional>
#include <limits>

#include "kernels/kernel_sets.h"

namespace nibble {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::vector<float> same_everywhere(const std::function<std::vector<float>(const ConvolutionLoops&)>& act) {
  const std::vector<float> first = act(convolution_loops(Isa::scalar));
  for (const Isa isa : runnable_sets()) EXPECT_TRUE(same_bits(act(convolution_loops(isa)), first)) << isa_name(isa);
  return first;
}

std::vector<std::uint8_t> random_bytes(std::size_t count, std::uint64_t seed) {
  Random random(seed);
  std::vector<std::uint8_t> bytes(count);
  for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(random.below(256));
  return bytes;
}

// Windows that begin at places of their own, of two runs that lie apart; bytes that stand behind y stay as they are.
TEST(ConvolutionLoops, TilesOfFloats) {
  const std::ptrdiff_t offsets[] = {1, 90};
  for (const std::size_t blocks : {1, 2, 4})
    for (const std::size_t places : {1, 2, 3, 5, 8, 13})
      for (const std::size_t missing : {0, 5}) {
        const std::size_t depth = 7, outputs = 16 * blocks - missing;
        const auto x = normal_numbers(300, 1), panel = normal_numbers(2 * depth * 16 * blocks, 2),
                   bias = normal_numbers(16 * blocks, 3), added = normal_numbers(places * 70, 4);
        const auto made = same_everywhere([&](const ConvolutionLoops& loops) {
          std::vector<float> y(places * 70, 9);
          std::vector<const float*> from, more;
          std::vector<float*> to;
          for (std::size_t i = 0; i < places; ++i) {
            from.push_back(&x[11 * i]);
            more.push_back(&added[70 * i]);
            to.push_back(&y[70 * i]);
          }
          loops.convolve({from.data(),
                          to.data(),
                          more.data(),
                          places,
                          2,
                          3,
                          {offsets, 2, depth},
                          panel.data(),
                          bias.data(),
                          blocks,
                          outputs,
                          -1.5F,
                          2});
          return y;
        });
        for (std::size_t i = 0; i < places; ++i)
          for (std::size_t j = 0; j < 70; ++j) {
            if (j < 3 || j >= 3 + outputs) {
              ASSERT_EQ(made[70 * i + j], 9) << places << ' ' << j;
              continue;
            }
            double sum = double(bias[j - 3]) + double(added[70 * i + j]), size = std::abs(sum);
            for (std::size_t k = 0; k < 2 * depth; ++k) {
              const double product = double(x[11 * i + 2 + static_cast<std::size_t>(offsets[k / depth]) + k % depth]) *
                                     double(panel[k * 16 * blocks + j - 3]);
              sum += product;
              size += std::abs(product);
            }
            ASSERT_NEAR(made[70 * i + j], std::clamp(sum, -1.5, 2.0), chain_bound(2 * depth + 2) * (size + 1));
          }
      }
}

// The largest codes and weights, too: sums of products that 16 bits would not hold.
TEST(ConvolutionLoops, TilesOfCodes) {
  const std::ptrdiff_t offsets[] = {1, 5, 9, 90, 94, 98};
  for (const bool is_extreme : {false, true})
    for (const std::size_t blocks : {1, 2, 4})
      for (const std::size_t places : {1, 3, 8, 13})
        for (const std::size_t missing : {0, 5}) {
          const std::size_t depth = 12, outputs = 16 * blocks - missing;
          auto x = random_bytes(400, 1), weights = random_bytes(2 * depth * 16 * blocks, 2);
          if (is_extreme) {
            std::ranges::fill(x, 255);
            std::ranges::fill(weights, 128);  // -128
          }
          std::vector<std::int32_t> bias(16 * blocks);
          for (std::size_t j = 0; j < bias.size(); ++j) bias[j] = static_cast<std::int32_t>(j * 1000) - 9000;
          auto factors = normal_numbers(16 * blocks, 3, 1e-3);
          const auto offset = normal_numbers(16 * blocks, 4);
          const auto made = same_everywhere([&](const ConvolutionLoops& loops) {
            std::vector<std::uint8_t> y(places * 70, 9);
            std::vector<const std::uint8_t*> from;
            std::vector<std::uint8_t*> to;
            for (std::size_t i = 0; i < places; ++i) {
              from.push_back(&x[11 * i]);
              to.push_back(&y[70 * i]);
            }
            loops.convolve_codes({from.data(),
                                  to.data(),
                                  places,
                                  2,
                                  3,
                                  {offsets, 6, 4},
                                  reinterpret_cast<const std::int8_t*>(weights.data()),
                                  bias.data(),
                                  {factors.data(), offset.data(), -100, 90, 130},
                                  blocks,
                                  outputs});
            return std::vector<float>(y.begin(), y.end());
          });
          for (std::size_t i = 0; i < places; ++i)
            for (std::size_t j = 0; j < 70; ++j) {
              if (j < 3 || j >= 3 + outputs) {
                ASSERT_EQ(made[70 * i + j], 9) << places << ' ' << j;
                continue;
              }
              std::int32_t sum = bias[j - 3];
              for (std::size_t k = 0; k < 2 * depth; ++k)
                sum += x[11 * i + 2 + static_cast<std::size_t>(offsets[k / 4]) + k % 4] *
                       static_cast<std::int8_t>(weights[(k / 4 * 16 * blocks + j - 3) * 4 + k % 4]);
              const float scaled = std::fma(static_cast<float>(sum), factors[j - 3], offset[j - 3]);
              ASSERT_EQ(made[70 * i + j], std::nearbyint(std::clamp(scaled, -100.0F, 90.0F)) + 130);
            }
        }
}

// Taps that neighbouring places share, and others.
TEST(ConvolutionLoops, ChannelsByThemselves) {
  const std::ptrdiff_t rows[] = {0, 640};
  for (const auto& [cols, step, stride] :
       {std::array<std::size_t, 3>{3, 41, 41}, {3, 41, 82}, {3, 41, 60}, {2, 41, 41}})
    for (const std::size_t channels : {1, 15, 16, 33})
      for (const std::size_t places : {1, 4, 9, 13}) {
        const std::size_t width = (channels + 15) / 16 * 16;
        const auto x = normal_numbers(2000, 1), weights = normal_numbers(2 * cols * width, 2),
                   bias = normal_numbers(width, 3);
        const auto made = same_everywhere([&](const ConvolutionLoops& loops) {
          std::vector<float> y(places * 50, 9);
          loops.convolve_channels({x.data(),
                                   stride,
                                   {rows, 2, cols, step},
                                   weights.data(),
                                   bias.data(),
                                   channels,
                                   places,
                                   y.data(),
                                   50,
                                   -kInfinity,
                                   1});
          return y;
        });
        const auto codes = random_bytes(2100, 5);
        std::vector<float> whole_weights(2 * cols * width), whole_bias(width);
        for (std::size_t i = 0; i < whole_weights.size(); ++i)
          whole_weights[i] = static_cast<float>(i * 37 % 255) - 127;
        for (std::size_t i = 0; i < width; ++i) whole_bias[i] = static_cast<float>(i * 991 % 5000) - 2500;
        const std::vector<float> factors(width, 0.01F);
        std::vector<std::int32_t> large_bias(width);
        for (std::size_t i = 0; i < width; ++i) large_bias[i] = static_cast<std::int32_t>(i % 21) * 100'000'001;
        const auto offset_of = [&](const std::int32_t* more) {
          std::vector<float> offsets(width, 0.25F);
          for (std::size_t i = 0; more != nullptr && i < width; ++i) offsets[i] = -0.01F * static_cast<float>(more[i]);
          return offsets;
        };
        for (const std::int32_t* const more :
             {static_cast<const std::int32_t*>(nullptr), static_cast<const std::int32_t*>(large_bias.data())}) {
          const std::vector<float> offset = offset_of(more);
          const auto coded = same_everywhere([&](const ConvolutionLoops& loops) {
            std::vector<std::uint8_t> y(places * 50, 9);
            loops.convolve_code_channels({codes.data(),
                                          stride,
                                          {rows, 2, cols, step},
                                          whole_weights.data(),
                                          whole_bias.data(),
                                          more,
                                          {factors.data(), offset.data(), -128, 127, 128},
                                          channels,
                                          places,
                                          y.data(),
                                          50});
            return std::vector<float>(y.begin(), y.end());
          });
          for (std::size_t i = 0; i < places; ++i)
            for (std::size_t c = 0; c < 50; ++c) {
              if (c >= channels) {
                ASSERT_EQ(made[50 * i + c], 9);
                ASSERT_EQ(coded[50 * i + c], 9);
                continue;
              }
              double sum = double(bias[c]);
              float whole = whole_bias[c];
              for (std::size_t t = 0; t < 2 * cols; ++t) {
                const std::size_t at = stride * i + static_cast<std::size_t>(rows[t / cols]) + t % cols * step + c;
                sum += double(x[at]) * double(weights[t * width + c]);
                whole += static_cast<float>(codes[at]) * whole_weights[t * width + c];
              }
              ASSERT_NEAR(made[50 * i + c], std::min(sum, 1.0), 1e-5);
              if (more != nullptr) whole = static_cast<float>(static_cast<std::int32_t>(whole) + more[c]);
              ASSERT_EQ(coded[50 * i + c],
                        std::nearbyint(std::clamp(std::fma(whole, 0.01F, offset[c]), -128.0F, 127.0F)) + 128);
            }
        }
      }
}

double by_definition(PointFunction function, double x) {
  switch (function) {
    case PointFunction::clip:
      return std::clamp(x, -0.75, 1.5);
    case PointFunction::leaky_relu:
      return x < 0 ? -0.75 * x : x;
    case PointFunction::hard_sigmoid:
      return std::clamp(-0.75 * x + 1.5, 0.0, 1.0);
    case PointFunction::hard_swish:
      return x * std::clamp(x / 6 + 0.5, 0.0, 1.0);
    case PointFunction::sigmoid:
      return 1 / (1 + std::exp(-x));
    case PointFunction::silu:
      return x / (1 + std::exp(-x));
    case PointFunction::tanh:
      return std::tanh(x);
    case PointFunction::exponential:
      return std::exp(x);
    case PointFunction::reciprocal:
      return 1 / x;
    case PointFunction::negative:
      return -x;
    case PointFunction::absolute:
      return std::abs(x);
  }
  return 0;
}

TEST(ConvolutionLoops, FunctionsOfEachNumber) {
  std::vector<float> x = normal_numbers(1001, 1, 3);
  for (const float special : {0.0F, -0.624F, 0.625F, 1e-20F, 20.0F, -60.0F}) x.push_back(special);
  for (int i = 0; i <= static_cast<int>(PointFunction::absolute); ++i) {
    const auto function = static_cast<PointFunction>(i);
    const auto made = same_everywhere([&](const ConvolutionLoops& loops) {
      std::vector<float> y(x.size() + 2, 7);
      loops.apply(function, -0.75F, 1.5F, x.data(), x.size(), y.data());
      return y;
    });
    EXPECT_EQ(made.back(), 7);
    for (std::size_t j = 0; j < x.size(); ++j) {
      const double exact = by_definition(function, double(x[j]));
      if (std::isinf(exact)) continue;
      ASSERT_NEAR(made[j], exact, 4 * 0x1p-23 * (std::abs(exact) + (function == PointFunction::tanh ? 1 : 0.1)))
          << i << ' ' << x[j];
    }
    const float nan = std::numeric_limits<float>::quiet_NaN();
    EXPECT_TRUE(std::isnan(same_everywhere([&](const ConvolutionLoops& loops) {
      std::vector<float> y(1);
      loops.apply(function, -0.75F, 1.5F, &nan, 1, y.data());
      return y;
    })[0]))
        << i;
  }
}

TEST(ConvolutionLoops, CodesAndWhatTheyStandFor) {
  std::vector<float> x = normal_numbers(70, 1, 20);
  x.insert(x.end(), {std::numeric_limits<float>::quiet_NaN(), kInfinity, -kInfinity, 0.25F, 0.75F, 1.25F});
  for (const std::size_t count : {std::size_t{1}, std::size_t{16}, std::size_t{37}, x.size()}) {
    const auto codes = same_everywhere([&](const ConvolutionLoops& loops) {
      std::vector<std::uint8_t> y(count + 1, 3);
      loops.narrow(x.data(), count, {0.5F, 100}, -90, 50, y.data());
      return std::vector<float>(y.begin(), y.end());
    });
    EXPECT_EQ(codes.back(), 3);
    for (std::size_t i = 0; i < count; ++i)
      EXPECT_EQ(codes[i], std::isnan(x[i]) ? 100 : std::clamp(std::nearbyint(x[i] / 0.5F), -90.0F, 50.0F) + 100) << i;
  }
  const auto a = random_bytes(116, 2), b = random_bytes(116, 3);
  const auto wide = same_everywhere([&](const ConvolutionLoops& loops) {
    std::vector<float> y(100, 5);
    loops.widen(a.data(), 99, {0.3F, 7}, y.data());
    return y;
  });
  const auto sums = same_everywhere([&](const ConvolutionLoops& loops) {
    std::vector<std::uint8_t> y(100, 5);
    loops.add_codes(a.data(), {0.3F, 7}, b.data(), {0.2F, 9}, 99, {0.4F, 30}, -30, 200, y.data());
    return std::vector<float>(y.begin(), y.end());
  });
  EXPECT_EQ(wide.back(), 5);
  EXPECT_EQ(sums.back(), 5);
  for (std::size_t i = 0; i < 99; ++i) {
    EXPECT_EQ(wide[i], (static_cast<float>(a[i]) - 7) * 0.3F);
    const float sum = (static_cast<float>(a[i]) - 7) * 0.3F + (static_cast<float>(b[i]) - 9) * 0.2F;
    EXPECT_EQ(sums[i], std::clamp(std::nearbyint(sum / 0.4F), -30.0F, 200.0F) + 30);
  }
}

}  // namespace
}  // namespace nibble
