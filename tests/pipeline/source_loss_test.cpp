// SPDX-License-Identifier: Apache-2.0
#include "pipeline/convert/source_loss.h"

#include <gtest/gtest.h>

#include "kernels/chosen_isa.h"
#include "pipeline/models.h"

namespace nibble {
namespace {

class SourceLosses : public testing::Test {
 protected:
  SourceLoss loss(const std::filesystem::path& source, const std::filesystem::path& original) {
    return measure_source_loss(SourceModel::open(source), SourceModel::open(original), machine_.pool);
  }

  Machine machine_{chosen_isa(), 1};
  ScratchDirectory scratch_;
};

// Values of 8 bits are within half a step of 1/127 of the largest in 32: a hundredth of the numbers at most, and not 0.
TEST_F(SourceLosses, AreThoseOfTheCodesInEitherContainer) {
  quantize_to(kGroupedModel, "q8_0", scratch_ / "q.gguf", machine_);
  quantize_to(kGroupedModel, "int8:g32", scratch_ / "q", machine_);
  for (const char* const name : {"q.gguf", "q"}) {
    const SourceLoss found = loss(scratch_ / name, kGroupedModel);
    EXPECT_GT(found.relative_rms, 0.001) << name;
    EXPECT_LT(found.relative_rms, 0.01) << name;
    EXPECT_GE(found.worst_relative_rms, found.relative_rms) << name;
    EXPECT_GE(found.matrices, 14u) << name;
  }
}

// Rows of queries and keys stand in another order in the other container.
TEST_F(SourceLosses, AreNoneAgainstTheNumbersThatTheCodesStandFor) {
  quantize_to(kGroupedModel, "q4_0", scratch_ / "q.gguf", machine_);
  quantize_to(scratch_ / "q.gguf", "f32", scratch_ / "plain", machine_);
  EXPECT_EQ(loss(scratch_ / "q.gguf", scratch_ / "plain").relative_rms, 0);
}

TEST_F(SourceLosses, NeedCodesAndTheSameNetwork) {
  EXPECT_NE(error_of([&] { loss(kGroupedModel, kGroupedModel); }).find("is quantized: it has lost nothing"),
            std::string::npos);
  quantize_to(kGroupedModel, "q8_0", scratch_ / "q.gguf", machine_);
  EXPECT_NE(error_of([&] { loss(scratch_ / "q.gguf", kTiedModel); }).find("it has no matrix as '"), std::string::npos);
}

}  // namespace
}  // namespace nibble
