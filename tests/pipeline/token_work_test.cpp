// SPDX-License-Identifier: Apache-2.0
#include "pipeline/tell/token_work.h"

#include <gtest/gtest.h>

#include "kernels/chosen_isa.h"
#include "pipeline/models.h"

namespace nibble {
namespace {

// Of two layers of hidden 64: four heads of 24 with two for keys and values, six experts of width 40 of which two are
// used, norms, a router; a vocabulary of 200.
constexpr std::uint64_t kAttention = 2 * (4 * 24 * 64) + 2 * (2 * 24 * 64), kUsedExperts = 2 * 3 * 40 * 64,
                        kNotLinear = 2 * 64 + 2 * 24 + 6 * 64, kHead = 200 * 64;

TEST(TokenWork, CountsOfExpertsThoseThatAreUsed) {
  const SourceModel model = SourceModel::open(NIBBLE_SOURCE_DIR "/tests/data/tiny_qwen3moe");
  const TokenWork work = work_of_token(model);
  EXPECT_EQ(work.linear_parameters, 2 * (kAttention + kUsedExperts));
  EXPECT_EQ(work.head_parameters, kHead);
  EXPECT_EQ(work.bytes, 4 * (2 * (kAttention + kUsedExperts + kNotLinear) + 64 + kHead));
}

TEST(TokenWork, IsThatOfTheStacksOfAGgufFile) {
  const ScratchDirectory scratch;
  Machine machine(chosen_isa(), 1);
  quantize_to(NIBBLE_SOURCE_DIR "/tests/data/tiny_qwen3moe", "f32", scratch / "m.gguf", machine);
  const TokenWork work = work_of_token(SourceModel::open(scratch / "m.gguf"));
  EXPECT_EQ(work.linear_parameters, 2 * (kAttention + kUsedExperts));
  EXPECT_EQ(work.bytes, 4 * (2 * (kAttention + kUsedExperts + kNotLinear) + 64 + kHead));
}

TEST(TokenWork, ATiedEmbeddingIsReadAndAnotherLookedUp) {
  const SourceModel tied = SourceModel::open(kTiedModel), other = SourceModel::open(kGroupedModel);
  const auto share = [](const SourceModel& model) {
    return share_read(*model.parts().part("embedding", -1), model.config());
  };
  EXPECT_EQ(share(tied), 1);
  EXPECT_EQ(share(other), 0);
}

}  // namespace
}  // namespace nibble
