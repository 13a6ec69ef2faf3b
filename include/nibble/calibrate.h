// SPDX-License-Identifier: Apache-2.0
//
// What a model's layers see while it reads text. Methods that look at data are told it, once for many quantizations.
//
//   nibble::Calibrated seen = nibble::calibrate(model, {{"stories.txt", text}}, {.second_moments = true});
//   nibble::save_statistics(seen.statistics, model, "model.stats.safetensors");
//
// Functions may be called from many threads at once; each has threads of its own.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "nibble/model.h"
#include "nibble/progress.h"

namespace nibble {

// Which windows of the texts are read: of equal length, not overlapping, chosen by a seed.
struct SamplingOptions {
  std::uint64_t samples = 128;  // windows; 0: all
  std::uint64_t length = 512;   // tokens in each
  std::uint64_t seed = 0;
  bool parse_special = false;  // the text of control tokens ("<|im_start|>") is that token, as in rendered chats
};

// What Linears are multiplied in on the way. f32: weights and activations as they are. int8: activations rounded to 8
// bits, wide columns to 15, as an engine rounds them; weights in their own codes where they are quantized, else rounded
// to int8:g128. The latter is several times faster. automatic: int8 for models that would take long otherwise.
enum class WalkArithmetic { automatic, f32, int8 };

struct CalibrateRequest {
  SamplingOptions sampling{};
  bool second_moments = false;  // whole matrices, which gptq and awq ask for; 4 * width^2 bytes a site
  WalkArithmetic arithmetic = WalkArithmetic::automatic;
  std::filesystem::path spill_directory{};  // hidden states lie in a file without a name there; empty: in memory
  MachineOptions machine{};
  ProgressCallback progress{};  // stage "calibrate", in layers
};

// Whether the text was enough for one site (Linears that read the same activation).
struct SiteAdequacy {
  std::string site;          // of an expert without its number
  std::int64_t expert = -1;  // -1: of none
  std::uint64_t count = 0, width = 0;
  double vectors_per_column = 0;  // count / width: below 1 the second moment is singular
  // With whole second moments only, else 0: (trace)^2 / (sum of squares), the number of directions that carry the
  // inputs; and the largest over the smallest squared pivot of the Cholesky factor, a lower bound of the condition
  // number, infinite when singular.
  double effective_rank = 0, condition = 0;
  std::uint64_t dead_columns = 0;  // never anything but zero
  double peak_ratio = 0;           // the largest column's root mean square over the median one's
  std::string warning;             // empty: enough
};

// Immutable; copies share their numbers. Safe to use from many threads.
class CalibrationStatistics {
 public:
  struct State;
  CalibrationStatistics() = default;
  explicit CalibrationStatistics(std::shared_ptr<const State> state) : state_(std::move(state)) {}
  bool empty() const noexcept { return state_ == nullptr; }

  const std::vector<std::string>& texts() const;  // the names of what was read
  std::uint64_t samples() const;                  // windows
  std::uint64_t length() const;                   // tokens in each
  std::vector<std::string> sites() const;         // "layers.3.attention_in"
  bool has_second_moments() const;
  // The mean of x^2 of each of the site's columns. Error(not_found) names the site.
  const std::vector<float>& mean_squares(std::string_view site) const;

  const State* state() const noexcept { return state_.get(); }  // the library's own

 private:
  std::shared_ptr<const State> state_;
};

struct Calibrated {
  CalibrationStatistics statistics;
  std::vector<SiteAdequacy> sites;
  std::vector<std::string> warnings;  // a line each; empty: the text was enough
};

// The same numbers for any number of threads. Errors: unusable_input (texts shorter than a window), corrupt (an
// activation that is not finite), not_found (no tokenizer), unsupported, cancelled.
Calibrated calibrate(const Model& model, const std::vector<NamedText>& texts, const CalibrateRequest& request);

// By the name's ending: .gguf and .dat are llama.cpp's importance matrices, anything else is a file of statistics.
// Errors: io, resource.
void save_statistics(const CalibrationStatistics& statistics, const Model& model, const std::filesystem::path& path);
// By content, whatever the name. Errors: not_found, corrupt, unsupported; unusable_input (of a model of other widths:
// names the site).
CalibrationStatistics load_statistics(const std::filesystem::path& path, const Model& model);

}  // namespace nibble
