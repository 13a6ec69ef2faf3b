// SPDX-License-Identifier: Apache-2.0
//
// The installed headers, used as a stranger would.
#include <gtest/gtest.h>

#include <algorithm>

#include "kernels/chosen_isa.h"
#include "nibble/evaluate.h"
#include "nibble/formats.h"
#include "nibble/generate.h"
#include "nibble/model.h"
#include "nibble/quantize.h"
#include "pipeline/models.h"

namespace nibble {
namespace {

TEST(Api, OpensQuantizesJudgesAndGenerates) {
  ScratchDirectory scratch;
  Machine machine(chosen_isa(), 2);
  const Model original = open_model(small_synth(scratch, machine.pool));
  EXPECT_EQ(original.info().architecture, "llama");
  const Quantized made =
      quantize(original, {.format = "q8_0", .output = scratch / "m.gguf", .machine = {.threads = 2}});
  EXPECT_EQ(made.bytes, std::filesystem::file_size(scratch / "m.gguf"));
  EXPECT_EQ(made.substitutions, 0u);

  const Model quantized = open_model(made.output);
  std::string text;
  for (int i = 0; i < 40; ++i) text += "A line of text, number " + std::to_string(i) + ".\n";
  const EvaluateRequest request{.context = 64, .max_windows = 2, .machine = {.threads = 2}};
  const Verdict verdict = evaluate_against(quantized, original, text, request);
  EXPECT_EQ(verdict.candidate.protocol, "llama.cpp");
  EXPECT_EQ(verdict.original.perplexity, evaluate(original, text, request).perplexity);
  EXPECT_NEAR(verdict.perplexity_ratio, verdict.candidate.perplexity / verdict.original.perplexity, 1e-9);
  EXPECT_GE(verdict.kl_mean, 0);

  std::string streamed;
  const GeneratedText generated =
      generate_text(quantized, "Tom", {.max_tokens = 5, .machine = {.threads = 1}}, [&](std::string_view piece) {
        streamed += piece;
        return true;
      });
  EXPECT_EQ(streamed, generated.text);
  EXPECT_LE(generated.generated_tokens, 5u);
}

TEST(Api, ErrorsSayWhatTheyAre) {
  try {
    open_model("no/such/model");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::not_found);
  }
  try {
    quantize(open_model(kTiedModel), {.format = "q4_z", .output = "x"});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::invalid_argument);
  }
}

TEST(Api, ListsFormatsAndMixesWithUniqueNames) {
  auto formats = list_format_descriptions();
  const auto named = [&](std::string_view name) {
    return std::ranges::find(formats, name, &FormatDescription::name) != formats.end();
  };
  EXPECT_TRUE(named("q4_k"));
  EXPECT_TRUE(named("q4_k_m"));
  EXPECT_TRUE(named("mix:q6_k"));
  EXPECT_TRUE(named("f16"));
  std::ranges::sort(formats, {}, &FormatDescription::name);
  EXPECT_EQ(std::ranges::adjacent_find(formats, {}, &FormatDescription::name), formats.end());
}

}  // namespace
}  // namespace nibble
