// SPDX-License-Identifier: Apache-2.0
//
// The components of tokenizer.json, one reader each. Every reader throws Error(corrupt) with the place, or
// Error(unsupported) naming the component that is not known here. Pure functions, safe from many threads.
//
//   parts.normalizer = read_normalizer(root.find("normalizer"));
#pragma once

#include <optional>

#include "model/tokenizer/json_view.h"
#include "model/tokenizer/parts.h"

namespace nibble::tokenizing {

using OptionalView = std::optional<JsonView>;  // nullopt: the component is missing or null

Normalizer read_normalizer(const OptionalView& view);
PreTokenizer read_pre_tokenizer(const OptionalView& view);
PieceDecoder read_decoder(const OptionalView& view);
// Fills prefix and suffix; the vocabulary must be there.
void read_post_processor(const OptionalView& view, TokenizerParts& parts);
// Fills vocabulary, added tokens and model; the normalizer must be there.
void read_model(const JsonView& root, TokenizerParts& parts);
// {"String": "..."} or {"Regex": "..."}
Pattern read_pattern(const JsonView& view);

}  // namespace nibble::tokenizing
