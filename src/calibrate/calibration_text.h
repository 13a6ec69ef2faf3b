// SPDX-License-Identifier: Apache-2.0
//
// Which tokens calibration sees: windows of equal length that do not overlap, chosen by a seed.
//
//   CalibrationTokens tokens = choose_windows(texts, tokenizer, {.samples = 128, .length = 512}, model_context);
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "model/tokenizer/tokenizer.h"
#include "nibble/calibrate.h"

namespace nibble {

struct CalibrationText {
  std::string name;  // of the file, for the record
  std::string text;
};

struct CalibrationTokens {
  std::vector<std::string> names;
  std::uint64_t length = 0;
  std::vector<std::int32_t> ids;  // window after window
  std::uint64_t wanted = 0;       // windows asked for; 0: all
  std::uint64_t available = 0;    // windows that the texts have

  std::size_t windows() const { return length == 0 ? 0 : ids.size() / length; }
  std::span<const std::int32_t> window(std::size_t index) const {
    return std::span(ids).subspan(index * length, length);
  }
};

// Says when there are fewer windows than were asked for; empty otherwise.
std::string shortage_warning(const CalibrationTokens& tokens);

// Each text is cut into windows of `length` from its start (what is left over is not used), their first token replaced
// by the begin token where the tokenizer puts one; of all windows `samples` are drawn without replacement and kept in
// the order of the texts. Windows longer than the model's context are shortened to it. Error(unusable_input): texts
// shorter than one window (says both lengths).
CalibrationTokens choose_windows(std::span<const CalibrationText> texts, const Tokenizer& tokenizer,
                                 const SamplingOptions& options, std::uint64_t model_context);

}  // namespace nibble
