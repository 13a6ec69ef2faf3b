// SPDX-License-Identifier: Apache-2.0
#include "graph/rotations.h"

#include <gtest/gtest.h>

#include "graph/drawing.h"

namespace nibble {
namespace {

constexpr std::uint64_t kHidden = 32, kHeads = 4, kKvHeads = 2, kHeadDim = 16, kExperts = 3;
using Parts = std::vector<std::string>;

// A layer with attention, to be drawn on.
struct Layer {
  Drawing d;
  Value x = d.input(token_rows(kHidden));

  Value attend(Value h, bool has_bias = false) {
    const auto [q, k, v] =
        d.linears(h, "attention_in",
                  {{"q", kHeads * kHeadDim}, {"k", kKvHeads * kHeadDim}, {"v", kKvHeads * kHeadDim, has_bias}});
    return d.attention(q, k, v, {.heads = kHeads, .kv_heads = kKvHeads, .head_dim = kHeadDim});
  }
  Graph finish(Value output) { return std::move(d).finish({output}); }
};

TEST(StreamRotation, GoesIntoReadersBehindNormsAndWriters) {
  Layer l;
  Value x = l.d.add(l.x, l.d.linear(l.attend(l.d.rms_norm(l.x, "n1", 1e-5F)), "attention_out", {"o", kHidden, true}));
  const Value h = l.d.rms_norm(x, "n2", 1e-5F);
  const auto [gate, up] = l.d.linears(h, "mlp_in", {{"gate", 48}, {"up", 48}});
  x = l.d.add(x, l.d.scale(l.d.linear(l.d.multiply(l.d.silu(gate), up), "mlp_out", {"down", kHidden}), 0.5F));
  const StreamRotation found = stream_rotation(l.finish(x));
  EXPECT_EQ(found.obstacle, "");
  ASSERT_EQ(found.readers.size(), 2u);
  EXPECT_EQ(found.readers[0].norm, "n1");
  EXPECT_EQ(found.readers[0].parts, (Parts{"q", "k", "v"}));
  EXPECT_EQ(found.readers[1].norm, "n2");
  EXPECT_EQ(found.readers[1].parts, (Parts{"gate", "up"}));
  EXPECT_EQ(found.writers, (Parts{"o", "o.bias", "down"}));
  EXPECT_TRUE(found.tables.empty());
}

TEST(StreamRotation, RoutersAndExpertsTakeIt) {
  Layer l;
  const Value h = l.d.rms_norm(l.x, "n", 1e-5F);
  const Value routing =
      l.d.route(l.d.linear(h, "mlp_in", {"router", kExperts, false, TensorRole::router}), {.used = 2});
  const Value inner = l.d.silu(l.d.expert_linear(h, routing, "experts_in", "expert_up", 48));
  const Value mixed =
      l.d.mix_experts(l.d.expert_linear(inner, routing, "experts_out", "expert_down", kHidden), routing);
  const StreamRotation found = stream_rotation(l.finish(l.d.add(l.x, mixed)));
  EXPECT_EQ(found.obstacle, "");
  ASSERT_EQ(found.readers.size(), 1u);
  EXPECT_EQ(found.readers[0].parts, (Parts{"router", "expert_up.0", "expert_up.1", "expert_up.2"}));
  EXPECT_EQ(found.writers, (Parts{"expert_down.0", "expert_down.1", "expert_down.2"}));
}

TEST(StreamRotation, BeginsWithRowsAndEndsInLogits) {
  Drawing begin;
  EXPECT_EQ(stream_rotation(std::move(begin).finish({begin.embedding("embedding", 90, kHidden)})).tables,
            (Parts{"embedding"}));
  Layer l;
  const Value logits = l.d.soft_cap(
      l.d.linear(l.d.rms_norm(l.x, "final_norm", 1e-5F), "head_in", {"head", 90, false, TensorRole::head}), 30);
  const StreamRotation found = stream_rotation(l.finish(logits));
  EXPECT_EQ(found.obstacle, "");
  EXPECT_EQ(found.readers.at(0).parts, (Parts{"head"}));
}

TEST(StreamRotation, NamesWhatItMeets) {
  {
    Layer l;
    const Value o = l.d.linear(l.attend(l.d.rms_norm(l.x, "n", 1e-5F)), "attention_out", {"o", kHidden});
    EXPECT_EQ(stream_rotation(l.finish(l.d.add(l.x, l.d.rms_norm(o, "after", 1e-5F)))).obstacle,
              "the norm 'after' lies between a Linear and the stream that it is added to");
  }
  {
    Layer l;
    EXPECT_EQ(stream_rotation(l.finish(l.d.gain(l.x, "layer_scale"))).obstacle,
              "the operation 'gain' reads the stream");
  }
  {
    Layer l;
    const Value h = l.d.rms_norm(l.x, "n", 1e-5F);
    EXPECT_EQ(stream_rotation(l.finish(l.d.add(l.x, l.d.silu(h)))).obstacle,
              "the operation 'silu' reads what a norm makes of the stream");
  }
  {
    Layer l;
    EXPECT_EQ(stream_rotation(l.finish(l.d.add(l.x, l.d.rms_norm(l.x, "n", 1e-5F)))).obstacle,
              "what the norm 'n' makes of the stream is added to it");
  }
  {
    Layer l;
    EXPECT_EQ(stream_rotation(l.finish(l.d.rms_norm_heads(l.x, "heads", 1e-5F, 8))).obstacle,
              "the norm 'heads' looks at some of the stream's channels at a time");
  }
  {
    Layer l;
    const Value o = l.d.linear(l.d.rms_norm(l.x, "n", 1e-5F), "in", {"o", kHidden});
    l.d.pass_on("o", o);
    EXPECT_EQ(stream_rotation(l.finish(l.d.add(l.x, o))).obstacle,
              "what the operation 'linear' adds to the stream is read elsewhere, too");
  }
  {
    Layer l;
    const Value o = l.d.linear(l.d.rms_norm(l.x, "n", 1e-5F), "in", {"o", kHidden});
    EXPECT_EQ(stream_rotation(l.finish(o)).obstacle, "what it gives is no sum of the stream");
  }
  {
    Layer l;
    const Value received = l.d.receive("earlier", token_rows(kHidden));
    EXPECT_EQ(stream_rotation(l.finish(l.d.add(l.x, received))).obstacle,
              "a value of an earlier layer is added to the stream");
  }
}

TEST(ValueRotations, AreOfValuesThatOneLinearReadsInSums) {
  Layer l;
  const Value o = l.d.linear(l.attend(l.d.rms_norm(l.x, "n", 1e-5F), true), "attention_out", {"o", kHidden});
  const std::vector<ValueRotation> found = value_rotations(l.finish(l.d.add(l.x, o)));
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].values, "v");
  EXPECT_EQ(found[0].bias, "v.bias");
  EXPECT_EQ(found[0].sums, "o");
  EXPECT_EQ(found[0].kv_heads, kKvHeads);
  EXPECT_EQ(found[0].heads, kHeads);
  EXPECT_EQ(found[0].head_dim, kHeadDim);
  // A gate on the sums takes channels one by one.
  Layer gated;
  const Value h = gated.d.rms_norm(gated.x, "n", 1e-5F);
  const Value sums = gated.attend(h);
  const Value gate = gated.d.sigmoid(gated.d.linear(h, "attention_in", {"gate", kHeads * kHeadDim}));
  const Value y = gated.d.linear(gated.d.multiply(sums, gate), "attention_out", {"o", kHidden});
  EXPECT_TRUE(value_rotations(gated.finish(gated.d.add(gated.x, y))).empty());
}

}  // namespace
}  // namespace nibble
