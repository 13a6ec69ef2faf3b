// SPDX-License-Identifier: Apache-2.0
//
// The bits of logits, of a prompt and of tokens one by one behind it: whatever becomes of the engine, a model says what
// it said. A change of arithmetic that is meant changes these constants, and says why.
#include <gtest/gtest.h>

#include "engine/decoder.h"
#include "pipeline/models.h"

namespace nibble {
namespace {

// FNV-1a over the bytes.
std::uint64_t hash_of(std::span<const float> values, std::uint64_t hash = 0xcbf29ce484222325) {
  for (const std::byte byte : std::as_bytes(values)) hash = (hash ^ static_cast<std::uint64_t>(byte)) * 0x100000001b3;
  return hash;
}

std::uint64_t hash_of_logits(const std::filesystem::path& path, Machine& machine) {
  Decoder decoder(SourceModel::open(path), {}, machine);
  const std::size_t vocab = decoder.config().vocab_size;
  std::vector<std::int32_t> ids(40);
  for (std::size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<std::int32_t>(i * 37 % 199);
  KvCache cache = decoder.new_cache(ids.size());
  std::vector<float> logits(32 * vocab);
  decoder.forward(cache, std::span(ids).first(32), LogitsFor::all, logits);
  std::uint64_t hash = hash_of(logits);
  for (std::size_t t = 32; t < ids.size(); ++t) {
    decoder.forward(cache, std::span(ids).subspan(t, 1), LogitsFor::last, std::span(logits).first(vocab));
    hash = hash_of(std::span(logits).first(vocab), hash);
  }
  return hash;
}

class LogitsBits : public testing::Test {
 protected:
  ScratchDirectory scratch_;
  Machine machine_{detect_cpu().avx2 ? Isa::avx2 : Isa::scalar, 2};

  std::uint64_t quantized(const std::filesystem::path& model, const std::string& format, const std::string& name) {
    quantize_to(model, format, scratch_ / name, machine_);
    return hash_of_logits(scratch_ / name, machine_);
  }
};

TEST_F(LogitsBits, OfOriginals) {
  EXPECT_EQ(hash_of_logits(NIBBLE_SOURCE_DIR "/tests/data/tale-4M", machine_), 12844663226574525764u);
  EXPECT_EQ(hash_of_logits(kGroupedModel, machine_), 14889467489555139432u);
  EXPECT_EQ(hash_of_logits(kTiedModel, machine_), 17119506215767196793u);
}

TEST_F(LogitsBits, OfQuantizedModels) {
  const std::filesystem::path tale = NIBBLE_SOURCE_DIR "/tests/data/tale-4M";
  EXPECT_EQ(quantized(tale, "q4_k_m", "k.gguf"), 4868657395111541093u);
  EXPECT_EQ(quantized(tale, "q8_0", "q8.gguf"), 3571480466953238008u);
  EXPECT_EQ(quantized(tale, "int4:g32", "planar"), 17179947861338860315u);
}

// With biases, and rotary halves in both containers.
TEST_F(LogitsBits, OfQwen2) {
  SynthShape shape{.name = "small",
                   .hidden = 64,
                   .intermediate = 128,
                   .layers = 2,
                   .heads = 4,
                   .kv_heads = 2,
                   .head_dim = 16,
                   .vocab = 300,
                   .context = 64};
  shape.architecture = "qwen2";
  synthesize_model(shape, {.output = scratch_ / "qwen"}, machine_.pool, {});
  const auto model =
      edited_copy(scratch_ / "qwen", scratch_ / "biased", [](const std::string& tensor, std::span<float> values) {
        if (tensor.ends_with(".bias"))
          for (std::size_t i = 0; i < values.size(); ++i) values[i] = 0.01F * static_cast<float>(i % 7) - 0.03F;
      });
  EXPECT_EQ(hash_of_logits(model, machine_), 15015665028195696617u);
  EXPECT_EQ(quantized(model, "q8_0", "qwen.gguf"), 5859718113264866651u);
}

}  // namespace
}  // namespace nibble
