// SPDX-License-Identifier: Apache-2.0
#include "quantize/mixes.h"

namespace nibble {
namespace {

// One rule a line where the order matters.
// clang-format off

// Names of the patterns. An untied head is output.weight; a tied one is the embedding. A fused q/k/v matrix, and what
// makes keys and values of a latent vector, is treated as v.
constexpr std::string_view kHead = "output.weight";
constexpr std::string_view kV = "*.attn_v.weight|*.attn_qkv.weight|*.attn_kv_b.weight";
constexpr std::string_view kK = "*.attn_k.weight";
constexpr std::string_view kQK = "*.attn_q.weight|*.attn_k.weight";
constexpr std::string_view kO = "*.attn_output.weight";
constexpr std::string_view kDown = "*.ffn_down*.weight";
constexpr std::string_view kGateUp = "*.ffn_gate*.weight|*.ffn_up*.weight";
constexpr std::string_view kAll = "*";

// The head in files of 256-blocks: q6_k, or q8_0 where its rows do not fit.
#define NIBBLE_HEAD_Q6                                                                                              \
  {kHead, "cols%256", "q8_0"}, {kEmbeddings, "tied, cols%256", "q8_0"}, {kHead, "", "q6_k"}, { \
    kEmbeddings, "tied", "q6_k"                                                                   \
  }
#define NIBBLE_HEAD_Q5                                                                                              \
  {kHead, "cols%256", "q8_0"}, {kEmbeddings, "tied, cols%256", "q8_0"}, {kHead, "", "q5_k"}, { \
    kEmbeddings, "tied", "q5_k"                                                                   \
  }
// ... and in files of 32-blocks.
#define NIBBLE_HEAD_32                                                                                              \
  {kHead, "cols%32", "q8_0"}, {kEmbeddings, "tied, cols%32", "q8_0"}, {kHead, "", "q6_k"}, { \
    kEmbeddings, "tied", "q6_k"                                                                  \
  }
// Mixtures of eight experts spend on attention, which is small beside them.
#define NIBBLE_EIGHT_EXPERTS {kV, "experts=8", "q8_0"}, {kK, "experts=8", "q8_0"}
#define NIBBLE_EIGHT_EXPERTS_O {kO, "experts=8", "q5_k"}
// Models of 80 layers with grouped queries ("70B"): v is small and shared by eight heads.
#define NIBBLE_SEVENTY_V {kV, "layers=80, gqa>=2", "q5_k"}

constexpr MixRule kQ4_0[] = {NIBBLE_HEAD_32, NIBBLE_EIGHT_EXPERTS, {kDown, "importance, layer<n/8", "q4_1"}};
constexpr MixRule kQ5_0[] = {NIBBLE_HEAD_32, NIBBLE_EIGHT_EXPERTS, {kDown, "importance, layer<n/8", "q5_1"}};
constexpr MixRule kPlain32[] = {NIBBLE_HEAD_32, NIBBLE_EIGHT_EXPERTS};
constexpr MixRule kQ8_0[] = {{kAll, "", "q8_0"}};

constexpr MixRule kQ2K[] = {NIBBLE_HEAD_Q6,
                            NIBBLE_EIGHT_EXPERTS,
                            NIBBLE_SEVENTY_V,
                            {kV, "gqa>=4", "q4_k"},
                            {kV, "", "q3_k"},
                            {kDown, "", "q3_k"},
                            NIBBLE_EIGHT_EXPERTS_O,
                            {kO, "", "q3_k"}};
constexpr MixRule kQ2KS[] = {NIBBLE_HEAD_Q6,
                             NIBBLE_EIGHT_EXPERTS,
                             {kV, "layers=80, gqa>=4", "q5_k"},
                             {kV, "gqa>=4", "q4_k"},
                             {kDown, "layer<n/8", "q4_k"}};
constexpr MixRule kQ3KS[] = {NIBBLE_HEAD_Q6, NIBBLE_EIGHT_EXPERTS, NIBBLE_SEVENTY_V, NIBBLE_EIGHT_EXPERTS_O};
constexpr MixRule kQ3KM[] = {NIBBLE_HEAD_Q6,
                             NIBBLE_EIGHT_EXPERTS,
                             NIBBLE_SEVENTY_V,
                             {kV, "layer<2", "q5_k"},
                             {kV, "", "q4_k"},
                             {kDown, "layer<n/16", "q5_k"},
                             {kDown, "", "q4_k"},
                             NIBBLE_EIGHT_EXPERTS_O,
                             {kO, "", "q4_k"}};
constexpr MixRule kQ3KL[] = {NIBBLE_HEAD_Q6, NIBBLE_EIGHT_EXPERTS, {kV, "", "q5_k"}, {kDown, "", "q5_k"},
                              {kO, "", "q5_k"}};
constexpr MixRule kQ4KS[] = {NIBBLE_HEAD_Q6,        NIBBLE_EIGHT_EXPERTS,      NIBBLE_SEVENTY_V,
                             {kV, "layer<4", "q5_k"}, {kDown, "layer<n/8", "q5_k"}, NIBBLE_EIGHT_EXPERTS_O};
constexpr MixRule kQ4KM[] = {NIBBLE_HEAD_Q6,   NIBBLE_EIGHT_EXPERTS,         {kV, "layer more_bits", "q6_k"},
                             NIBBLE_SEVENTY_V, {kDown, "layer more_bits", "q6_k"}, NIBBLE_EIGHT_EXPERTS_O};
constexpr MixRule kQ5KS[] = {NIBBLE_HEAD_Q6, NIBBLE_EIGHT_EXPERTS};
constexpr MixRule kQ5KM[] = {NIBBLE_HEAD_Q6, NIBBLE_EIGHT_EXPERTS, {kV, "layer more_bits", "q6_k"},
                              {kDown, "layer more_bits", "q6_k"}};
constexpr MixRule kQ6K[] = {NIBBLE_HEAD_Q6, NIBBLE_EIGHT_EXPERTS};

// The 1- and 2-bit vector types: what attention reads and writes is kept finer.
#define NIBBLE_TINY(embedding, v, down)                                                                                    \
  NIBBLE_HEAD_Q5, {kEmbeddings, "", embedding}, {kV, "gqa>=4", "q4_k"}, {kV, "experts>=4", "q4_k"}, {kV, "", v}, \
      {kK, "experts=8", "q4_k"}, {kDown, "layer<n/8", down}, {                                                       \
    kO, "experts=8", "q5_k"                                                                                                  \
  }
constexpr MixRule kIQ1[] = {NIBBLE_TINY("q2_k", "q2_k", "q2_k"), {kO, "", "iq2_xxs"}};
constexpr MixRule kIQ2X[] = {NIBBLE_TINY("q2_k", "q2_k", "q2_k")};
constexpr MixRule kIQ2SM[] = {NIBBLE_TINY("iq3_s", "iq3_s", "iq3_s"), {kO, "", "iq3_s"}};

constexpr MixRule kIQ3XXS[] = {NIBBLE_HEAD_Q5,
                               {kEmbeddings, "", "iq3_s"},
                               NIBBLE_EIGHT_EXPERTS,
                               {kV, "layers=80, gqa>=4", "q5_k"},
                               {kV, "gqa>=4", "q4_k"},
                               {kV, "no importance", "iq3_s"},
                               {kQK, "", "iq2_s"},
                               {kDown, "no importance, layer<n/8", "q4_k"},
                               {kDown, "no importance", "q3_k"},
                               NIBBLE_EIGHT_EXPERTS_O,
                               {kO, "", "iq3_s"}};
constexpr MixRule kIQ3XS[] = {NIBBLE_HEAD_Q6,
                              NIBBLE_EIGHT_EXPERTS,
                              {kV, "layers=80, gqa>=4", "q5_k"},
                              {kV, "gqa>=4", "q4_k"},
                              {kQK, "", "iq3_xxs"},
                              NIBBLE_EIGHT_EXPERTS_O,
                              {kGateUp, "layer in n/8..7n/8", "iq3_xxs"}};
constexpr MixRule kIQ3S[] = {NIBBLE_HEAD_Q6, NIBBLE_EIGHT_EXPERTS, {kV, "layers=80, gqa>=4", "q5_k"},
                              {kV, "gqa>=4", "q4_k"},
                             NIBBLE_EIGHT_EXPERTS_O};
constexpr MixRule kIQ3M[] = {NIBBLE_HEAD_Q6,
                             NIBBLE_EIGHT_EXPERTS,
                             NIBBLE_SEVENTY_V,
                             {kV, "", "q4_k"},
                             {kDown, "layer<n/8", "q4_k"},
                             {kDown, "experts=8, layer more_bits", "q4_k"},
                             NIBBLE_EIGHT_EXPERTS_O,
                             {kO, "", "q4_k"}};
constexpr MixRule kIQ4NL[] = {NIBBLE_HEAD_32, NIBBLE_EIGHT_EXPERTS, {kV, "gqa>=4", "q5_k"},
                               {kDown, "no importance, layer<n/8", "q5_k"},
                              NIBBLE_EIGHT_EXPERTS_O};
constexpr MixRule kIQ4XS[] = {NIBBLE_HEAD_Q6, NIBBLE_EIGHT_EXPERTS, {kV, "gqa>=4", "q5_k"},
                               {kDown, "no importance, layer<n/8", "q5_k"},
                              NIBBLE_EIGHT_EXPERTS_O};
constexpr MixRule kTernary[] = {NIBBLE_HEAD_Q6, {kEmbeddings, "", "q4_k"}};
constexpr MixRule kMxfp4Moe[] = {{kAll, "stacked", "mxfp4"}, {kAll, "", "q8_0"}};

#undef NIBBLE_HEAD_Q6
#undef NIBBLE_HEAD_Q5
#undef NIBBLE_HEAD_32
#undef NIBBLE_EIGHT_EXPERTS
#undef NIBBLE_EIGHT_EXPERTS_O
#undef NIBBLE_SEVENTY_V
#undef NIBBLE_TINY

constexpr Mix kMixes[] = {
    {"q4_0", 2, "q4_0", "q4_0 with the head in q6_k", kQ4_0},
    {"q4_1", 3, "q4_1", "q4_1 with the head in q6_k", kPlain32},
    {"q5_0", 8, "q5_0", "q5_0 with the head in q6_k", kQ5_0},
    {"q5_1", 9, "q5_1", "q5_1 with the head in q6_k", kPlain32},
    {"q8_0", 7, "q8_0", "q8_0 everywhere", kQ8_0},
    {"q2_k", 10, "q2_k", "2 bits, with v, down and output projections at 3 to 4", kQ2K},
    {"q2_k_s", 21, "q2_k", "2 bits nearly everywhere", kQ2KS},
    {"q3_k_s", 11, "q3_k", "3 bits everywhere but the head", kQ3KS},
    {"q3_k_m", 12, "q3_k", "3 bits, with v, down and output projections at 4 to 5", kQ3KM},
    {"q3_k_l", 13, "q3_k", "3 bits, with v, down and output projections at 5", kQ3KL},
    {"q4_k_s", 14, "q4_k", "4 bits, with the first layers' v and down projections at 5", kQ4KS},
    {"q4_k_m", 15, "q4_k", "4 bits, with half of the v and down projections at 6: the usual choice", kQ4KM},
    {"q5_k_s", 16, "q5_k", "5 bits everywhere but the head", kQ5KS},
    {"q5_k_m", 17, "q5_k", "5 bits, with half of the v and down projections at 6", kQ5KM},
    {"q6_k", 18, "q6_k", "6 bits everywhere", kQ6K},
    {"iq1_s", 24, "iq1_s", "1.6 bits by lattice, attention finer; needs importance", kIQ1},
    {"iq1_m", 31, "iq1_m", "1.8 bits by lattice, attention finer; needs importance", kIQ1},
    {"iq2_xxs", 19, "iq2_xxs", "2.1 bits by lattice; needs importance", kIQ2X},
    {"iq2_xs", 20, "iq2_xs", "2.3 bits by lattice; needs importance", kIQ2X},
    {"iq2_s", 28, "iq2_xs", "2.3 bits by lattice, attention at 3; needs importance", kIQ2SM},
    {"iq2_m", 29, "iq2_s", "2.6 bits by lattice, attention at 3; needs importance", kIQ2SM},
    {"iq3_xxs", 23, "iq3_xxs", "3.1 bits by lattice", kIQ3XXS},
    {"iq3_xs", 22, "iq3_s", "3.3 bits by lattice", kIQ3XS},
    {"iq3_s", 26, "iq3_s", "3.4 bits by lattice", kIQ3S},
    {"iq3_m", 27, "iq3_s", "3.4 bits by lattice, with v and output projections at 4", kIQ3M},
    {"iq4_nl", 25, "iq4_nl", "4.5 bits by table", kIQ4NL},
    {"iq4_xs", 30, "iq4_xs", "4.25 bits by table", kIQ4XS},
    {"tq1_0", 36, "tq1_0", "ternary, 1.7 bits, for models trained that way", kTernary},
    {"tq2_0", 37, "tq2_0", "ternary, 2.1 bits, for models trained that way", kTernary},
    {"mxfp4_moe", 38, "q8_0", "expert matrices in mxfp4, the rest in q8_0", kMxfp4Moe},
};

// clang-format on

}  // namespace

std::span<const Mix> all_mixes() { return kMixes; }

}  // namespace nibble
