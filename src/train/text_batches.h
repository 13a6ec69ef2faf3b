// SPDX-License-Identifier: Apache-2.0
//
// Text as training reads it: documents become one stream of tokens, the stream rows of equal length, the rows batches
// in an order that a seed decides. Every pass over the stream takes each token once, but for what rows and batches
// leave over at its ends, and begins its rows elsewhere.
//
//   const TokenStream stream = join_documents(text, tokenizer, {});
//   TextBatches batches(stream, {.size = 8, .length = 512, .seed = 3});
//   const std::vector<std::int32_t> batch = batches.next();      // [8, 513]
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/tokenizer/tokenizer.h"

namespace nibble {

struct DocumentOptions {
  std::string separator = "\n\n\n";  // stands between documents
  double closed_share = 0.15;        // of the documents end in the tokenizer's end token, others in the separator
  std::uint64_t seed = 7;            // decides which
};

struct TokenStream {
  std::vector<std::int32_t> ids;
  std::optional<std::int32_t> begin;  // the token that rows begin with, where the tokenizer has one
};

// A closed document is followed by the end token and the begin token, those of both that the tokenizer has; without an
// end token none is closed.
TokenStream join_documents(std::string_view text, const Tokenizer& tokenizer, const DocumentOptions& options);

// The last `share` of a stream, cut from it: what a run is judged by and does not see.
TokenStream hold_out(TokenStream& stream, double share);

struct BatchSettings {
  std::uint64_t size = 8;      // rows
  std::uint64_t length = 512;  // tokens of a row that are predicted
  std::uint64_t seed = 3;
};

// Where a stream of batches stands: enough to go on from there.
struct BatchPosition {
  std::uint64_t pass = 0, row = 0;  // rows taken of the pass

  bool operator==(const BatchPosition&) const = default;
};

class TextBatches {
 public:
  // The stream must outlive this. Error(unusable_input): fewer tokens than a batch takes (both numbers are told).
  TextBatches(const TokenStream& stream, const BatchSettings& settings);

  // [size, length + 1] ids: the begin token and `length` of the stream, or length + 1 of the stream where there is no
  // such token. What stands at t + 1 is to be predicted at t.
  std::vector<std::int32_t> next();

  BatchPosition position() const noexcept { return position_; }
  // next() then gives what it gave there before. Error(corrupt): a row that is none of the pass.
  void go_to(const BatchPosition& position);

 private:
  void begin_pass(std::uint64_t pass);

  const TokenStream& stream_;
  BatchSettings settings_;
  BatchPosition position_;
  std::vector<std::uint64_t> starts_;  // of the pass's rows in the stream, in its order
};

}  // namespace nibble
