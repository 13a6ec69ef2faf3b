// SPDX-License-Identifier: Apache-2.0
//
// BLEU (Papineni et al. 2002) as sacrebleu computes it by default: "13a" tokens, up to four of them, exponential
// smoothing, whole corpus.
//
//   BleuCounts counts = count_bleu("the cat sat", "the cat sat down");
//   double score = bleu_of(counts);   // 0 to 100
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "nibble/tasks.h"

namespace nibble {

BleuCounts& operator+=(BleuCounts& sum, const BleuCounts& other);
BleuCounts count_bleu(std::string_view made, std::string_view reference);
double bleu_of(const BleuCounts& counts);

// Punctuation apart from words, but for points and commas within numbers.
std::vector<std::string> bleu_tokens(std::string_view text);

}  // namespace nibble
