// SPDX-License-Identifier: Apache-2.0
#include "calibrate/calibration_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "base/random.h"
#include "nibble/error.h"

namespace nibble {

CalibrationTokens choose_windows(std::span<const CalibrationText> texts, const Tokenizer& tokenizer,
                                 const SamplingOptions& options, std::uint64_t model_context) {
  CalibrationTokens result;
  result.length = model_context == 0 ? options.length : std::min(options.length, model_context);
  result.wanted = options.samples;
  if (result.length == 0)
    throw Error(ErrorKind::invalid_argument, "calibration windows need at least one token", "length");
  std::vector<std::int32_t> all;
  std::uint64_t num_tokens = 0;
  for (const CalibrationText& text : texts) {
    result.names.push_back(text.name);
    std::vector<std::int32_t> ids = tokenizer.encode(text.text, {.parse_special = options.parse_special});
    num_tokens += ids.size();
    ids.resize(ids.size() / result.length * result.length);
    if (tokenizer.adds_bos() && tokenizer.bos())
      for (std::size_t begin = 0; begin < ids.size(); begin += result.length) ids[begin] = *tokenizer.bos();
    all.insert(all.end(), ids.begin(), ids.end());
  }
  result.available = all.size() / result.length;
  if (result.available == 0)
    throw Error(
        ErrorKind::unusable_input,
        fmt::format(
            "the calibration text is shorter than one window; give more text or shorter windows: {} tokens, window {}",
            num_tokens, result.length),
        "length");
  std::vector<std::uint64_t> chosen(result.available);
  std::iota(chosen.begin(), chosen.end(), std::uint64_t{0});
  if (options.samples != 0 && options.samples < result.available) {
    Random random(options.seed);
    for (std::uint64_t i = 0; i < options.samples; ++i)
      std::swap(chosen[i], chosen[i + random.below(result.available - i)]);
    chosen.resize(options.samples);
    std::ranges::sort(chosen);
  }
  for (const std::uint64_t window : chosen) {
    const auto begin = all.begin() + static_cast<std::ptrdiff_t>(window * result.length);
    result.ids.insert(result.ids.end(), begin, begin + static_cast<std::ptrdiff_t>(result.length));
  }
  return result;
}

std::string shortage_warning(const CalibrationTokens& tokens) {
  if (tokens.wanted <= tokens.available) return {};
  return fmt::format("the text has {} windows of {} tokens, fewer than the {} samples asked for", tokens.available,
                     tokens.length, tokens.wanted);
}

}  // namespace nibble
