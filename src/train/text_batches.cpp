// SPDX-License-Identifier: Apache-2.0
#include "train/text_batches.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/random.h"
#include "nibble/error.h"

namespace nibble {

TokenStream join_documents(std::string_view text, const Tokenizer& tokenizer, const DocumentOptions& options) {
  TokenStream stream;
  stream.begin = tokenizer.bos();
  const std::optional<std::int32_t> end = tokenizer.eos();
  Random random(options.seed);
  // Documents up to a closed one are tokenized together: their separators may be part of longer tokens.
  std::size_t first = 0, at = 0;
  const auto append = [&](std::size_t behind) {
    const std::vector<std::int32_t> ids = tokenizer.encode(text.substr(first, behind - first), {.add_special = false});
    stream.ids.insert(stream.ids.end(), ids.begin(), ids.end());
  };
  for (;;) {
    const std::size_t found = options.separator.empty() ? std::string_view::npos : text.find(options.separator, at);
    if (found == std::string_view::npos) break;
    at = found + options.separator.size();
    if (random.uniform() >= options.closed_share || !end) continue;
    append(found);
    stream.ids.push_back(*end);
    if (stream.begin) stream.ids.push_back(*stream.begin);
    first = at;
  }
  append(text.size());
  return stream;
}

TokenStream hold_out(TokenStream& stream, double share) {
  const auto kept = static_cast<std::size_t>(static_cast<double>(stream.ids.size()) * (1 - share));
  const auto cut = stream.ids.begin() + static_cast<std::ptrdiff_t>(std::min(kept, stream.ids.size()));
  TokenStream held{{cut, stream.ids.end()}, stream.begin};
  stream.ids.erase(cut, stream.ids.end());
  return held;
}

TextBatches::TextBatches(const TokenStream& stream, const BatchSettings& settings)
    : stream_(stream), settings_(settings) {
  if (settings.size == 0 || settings.length == 0)
    throw Error(ErrorKind::invalid_argument, "a batch has at least one row of at least one token",
                settings.size == 0 ? "batch" : "length");
  // A pass begins up to a row behind the start.
  const std::uint64_t rows = stream.ids.size() / settings.length;
  if (rows < 2 || rows - 1 < settings.size)
    throw Error(
        ErrorKind::unusable_input,
        fmt::format("the text is shorter than a batch; give more text, or fewer or shorter rows: {} tokens, and "
                    "a batch of {} rows of {} takes {}",
                    stream.ids.size(), settings.size, settings.length, (settings.size + 1) * settings.length),
        "batch");
  begin_pass(0);
}

void TextBatches::begin_pass(std::uint64_t pass) {
  Random random(settings_.seed ^ pass * 0xd1342543de82ef95u);
  const std::uint64_t length = settings_.length, taken = stream_.begin ? length : length + 1;
  starts_.clear();
  for (std::uint64_t start = random.below(length); start + taken <= stream_.ids.size(); start += length)
    starts_.push_back(start);
  for (std::size_t i = starts_.size(); i > 1; --i)
    std::swap(starts_[i - 1], starts_[static_cast<std::size_t>(random.below(i))]);
  position_ = {pass, 0};
}

std::vector<std::int32_t> TextBatches::next() {
  if (starts_.size() - position_.row < settings_.size) begin_pass(position_.pass + 1);
  std::vector<std::int32_t> batch;
  batch.reserve(static_cast<std::size_t>(settings_.size * (settings_.length + 1)));
  const std::uint64_t taken = stream_.begin ? settings_.length : settings_.length + 1;
  for (std::uint64_t row = 0; row < settings_.size; ++row, ++position_.row) {
    const auto start =
        stream_.ids.begin() + static_cast<std::ptrdiff_t>(starts_[static_cast<std::size_t>(position_.row)]);
    if (stream_.begin) batch.push_back(*stream_.begin);
    batch.insert(batch.end(), start, start + static_cast<std::ptrdiff_t>(taken));
  }
  return batch;
}

void TextBatches::go_to(const BatchPosition& position) {
  begin_pass(position.pass);
  if (position.row > starts_.size() || position.row % settings_.size != 0)
    throw Error(ErrorKind::corrupt,
                fmt::format("a pass over this text has no batch at row {} of {}", position.row, starts_.size()));
  position_ = position;
}

}  // namespace nibble
