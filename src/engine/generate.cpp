// SPDX-License-Identifier: Apache-2.0
#include "engine/generate.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <chrono>

#include "base/elapsed.h"
#include "base/progress_meter.h"
#include "base/utf8.h"
#include "nibble/error.h"

namespace nibble {

namespace {

// How many bytes at the end are the beginning of a character whose rest may still come.
std::size_t incomplete_tail(std::string_view text) {
  for (std::size_t back = 1; back <= std::min<std::size_t>(3, text.size()); ++back) {
    const auto byte = static_cast<unsigned char>(text[text.size() - back]);
    if ((byte & 0xc0) == 0x80) continue;  // a continuation: look further back
    const std::size_t length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
    return length > back ? back : 0;
  }
  return 0;
}

// The longest end of text that begins a stop text.
std::size_t stop_prefix(std::string_view text, const std::vector<std::string>& stop) {
  std::size_t longest = 0;
  for (const std::string& s : stop)
    for (std::size_t length = std::min(s.size() - 1, text.size()); length > longest; --length)
      if (text.ends_with(std::string_view(s).substr(0, length))) longest = length;
  return longest;
}

void expect_room(std::size_t prompt, std::size_t context) {
  if (prompt == 0) throw Error(ErrorKind::unusable_input, "the prompt has no tokens; give some text");
  if (prompt >= context)
    throw Error(
        ErrorKind::unusable_input,
        fmt::format("the prompt leaves no room in the context; shorten it: tokens {}, context {}", prompt, context));
}

}  // namespace

TextStream::TextStream(std::vector<std::string> stop) : stop_(std::move(stop)) {
  std::erase_if(stop_, [](const std::string& s) { return s.empty(); });
}

std::string TextStream::take(std::size_t count) {
  std::string text = replace_invalid_utf8(std::string_view(held_).substr(0, count));
  held_.erase(0, count);
  return text;
}

std::string TextStream::push(std::string_view bytes) {
  if (stopped_) return {};
  held_ += bytes;
  std::size_t found = std::string::npos;
  for (const std::string& s : stop_) found = std::min(found, held_.find(s));
  if (found != std::string::npos) {
    stopped_ = true;
    return take(found);
  }
  return take(held_.size() - std::max(incomplete_tail(held_), stop_prefix(held_, stop_)));
}

std::string TextStream::finish() { return stopped_ ? std::string() : take(held_.size()); }

Generated generate(Decoder& decoder, const Tokenizer& tokenizer, std::span<const std::int32_t> prompt,
                   const GenerateOptions& options, const TextCallback& on_text) {
  const auto step = [&](const SequenceStep& alone, std::span<float> logits, const ProgressCallback& progress) {
    decoder.step(std::span(&alone, 1), logits, progress);
  };
  return generate(decoder, step, tokenizer, prompt, options, on_text);
}

Generated generate(const Decoder& decoder, const StepFunction& step, const Tokenizer& tokenizer,
                   std::span<const std::int32_t> prompt, const GenerateOptions& options, const TextCallback& on_text) {
  const std::size_t limit = options.context > 0 ? options.context : decoder.config().context;
  expect_room(prompt.size(), limit);
  const std::size_t wanted = std::max<std::size_t>(1, options.max_tokens);
  KvCache cache = decoder.new_cache(wanted < limit - prompt.size() ? prompt.size() + wanted : limit);
  return generate(decoder, cache, step, tokenizer, prompt, options, on_text);
}

Generated generate(const Decoder& decoder, KvCache& cache, const StepFunction& step, const Tokenizer& tokenizer,
                   std::span<const std::int32_t> prompt, const GenerateOptions& options, const TextCallback& on_text) {
  expect_room(prompt.size(), cache.capacity());
  Sampler sampler(options.sampler);
  TextStream stream(options.stop);
  Generated made;
  made.prompt_tokens = prompt.size();
  const auto give = [&](const std::string& text) {
    made.text += text;
    return text.empty() || !on_text || on_text(text);
  };

  std::vector<float> logits(decoder.config().vocab_size);
  std::vector<std::int32_t> history(prompt.begin(), prompt.end());
  auto start = std::chrono::steady_clock::now();
  assert(cache.length() < prompt.size());
  const std::span<const std::int32_t> unread = prompt.subspan(cache.length());
  if (options.max_tokens > 0) step({&cache, unread, unread.size() - 1}, logits, options.progress);
  made.prompt_seconds = seconds_since(start);

  ProgressMeter meter(options.progress, "generate", options.max_tokens);
  while (made.tokens.size() < options.max_tokens) {
    const std::int32_t next = sampler.choose(logits, history);
    if (tokenizer.is_end(next) && !options.ignore_end) {
      made.reason = StopReason::end_token;
      break;
    }
    made.tokens.push_back(next);
    history.push_back(next);
    meter.report(made.tokens.size());
    const bool go_on = give(stream.push(tokenizer.piece(next)));
    if (!go_on || stream.stopped()) {
      made.reason = go_on ? StopReason::stop_text : StopReason::caller;
      break;
    }
    if (made.tokens.size() == options.max_tokens) break;
    if (cache.length() == cache.capacity()) {
      made.reason = StopReason::context_full;
      break;
    }
    start = std::chrono::steady_clock::now();
    step({&cache, std::span(&next, 1), 0}, logits, {});
    made.decode_seconds += seconds_since(start);
    ++made.decode_tokens;
  }
  if (made.reason != StopReason::caller) give(stream.finish());
  return made;
}

}  // namespace nibble
