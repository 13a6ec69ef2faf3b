// SPDX-License-Identifier: Apache-2.0
#include "train/input_rounding.h"

#include <gtest/gtest.h>

#include <cmath>

#include "kernels/chosen_isa.h"
#include "model/tiny_models.h"
#include "nibble/error.h"
#include "train/losses.h"
#include "train/tape.h"

namespace nibble {
namespace {

InputRounding rounding_of(const char* format) { return {.format = parse_activation_format(format)}; }

TEST(InputRounding, CodesAreWhole) {
  ThreadPool pool(1);
  std::vector<float> x;
  for (int i = 0; i < 2 * 256; ++i) x.push_back(static_cast<float>((i * 37) % 101 - 50) * (i < 256 ? 0.01F : 3.0F));
  for (const char* const format : {"a8:g128", "a8:token", "a8:token:asym", "a8:static", "a8:static:asym"}) {
    InputRounding rounding = rounding_of(format);
    if (rounding.format.is_static()) rounding.grid = reaching_grid(x, rounding.format);
    std::vector<float> out(x.size());
    round_inputs(x, 256, rounding, out, pool);
    for (std::size_t i = 0; i < x.size(); ++i) {
      // A grid that reaches from -150 to 150, or of the first token from -0.5 to 0.5.
      const double step = (rounding.format.is_asymmetric ? 2 / 255.0 : 1 / 127.0) *
                          (i < 256 && !rounding.format.is_static() ? 0.5 : 150);
      EXPECT_LE(std::fabs(out[i] - x[i]), 0.5001 * step) << format << ' ' << i;
      if (!rounding.format.is_asymmetric) {
        EXPECT_NEAR(std::nearbyint(out[i] / step), out[i] / step, 1e-3) << format << ' ' << i;
      }
    }
  }
}

TEST(InputRounding, AStaticGridCutsOffWhatIsBeyond) {
  const ActivationGrid grid{.scale = 0.1F, .zero = -28};
  EXPECT_FALSE(is_cut_off(15.5F, grid, true));
  EXPECT_TRUE(is_cut_off(15.6F, grid, true));
  EXPECT_FALSE(is_cut_off(-10.0F, grid, true));
  EXPECT_TRUE(is_cut_off(-10.1F, grid, true));
  ThreadPool pool(1);
  const std::vector<float> x = {-100, 0, 0.26F, 100};
  std::vector<float> out(4);
  round_inputs(x, 4, {parse_activation_format("a8:static:asym"), grid}, out, pool);
  EXPECT_NEAR(out[0], -10, 1e-5);
  EXPECT_EQ(out[1], 0);
  EXPECT_NEAR(out[2], 0.3, 1e-6);
  EXPECT_NEAR(out[3], 15.5, 1e-5);
}

// Slopes pass through: those of the weights are made with rounded inputs, and differ little from those without.
TEST(InputRounding, NetworksSeeRoundedInputs) {
  const SourceModel model = SourceModel::open(data_directory() / "tiny_qwen3");
  Machine machine(chosen_isa(), 1);
  std::vector<std::int32_t> ids, targets;
  for (int i = 0; i < 48; ++i) {
    ids.push_back(i * 7 % 50);
    targets.push_back((i + 1) * 7 % 50);
  }
  const auto gradients = [&](const char* format, double& loss) {
    NetworkWeights weights(model, machine.pool);
    weights.train([](const NetworkWeight&) { return true; });
    if (format != nullptr)
      for (NetworkWeight& weight : weights.all())
        if (weight.role == TensorRole::linear) weight.inputs = rounding_of(format);
    Tape tape(model.parts().network(), weights, {}, machine);
    loss = tape.run(ids, {2, 24}, next_token_loss(targets, machine), Tape::Walk::there_and_back);
    std::vector<double> all;
    for (const NetworkWeight& weight : weights.all())
      all.insert(all.end(), weight.gradient.begin(), weight.gradient.end());
    return all;
  };
  double plain_loss = 0, loss = 0;
  const std::vector<double> plain = gradients(nullptr, plain_loss);
  for (const char* const format : {"a8:g128", "a8:token", "a8:static"}) {
    const std::vector<double> found = gradients(format, loss);
    EXPECT_NE(loss, plain_loss) << format;
    EXPECT_NEAR(loss, plain_loss, 0.005 * plain_loss) << format;
    double apart = 0, whole = 0;
    for (std::size_t i = 0; i < plain.size(); ++i) {
      apart += (found[i] - plain[i]) * (found[i] - plain[i]);
      whole += plain[i] * plain[i];
    }
    EXPECT_GT(apart, 0) << format;
    EXPECT_LT(std::sqrt(apart / whole), 0.2) << format;
  }
}

TEST(InputRounding, WideColumnsAreRefused) {
  EXPECT_THROW(require_trainable_inputs(parse_activation_format("a8:g128:wide")), Error);
  EXPECT_THROW(require_trainable_inputs(parse_activation_format("a16:g128")), Error);
  EXPECT_NO_THROW(require_trainable_inputs(parse_activation_format("a8:g64")));
}

}  // namespace
}  // namespace nibble
