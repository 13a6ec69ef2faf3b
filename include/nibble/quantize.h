// SPDX-License-Identifier: Apache-2.0
//
// Making a model small: in a format, by a recipe, or within a budget; judged, where that is asked, before it is there.
//
//   nibble::Quantized result = nibble::quantize(model, {.format = "q4_k_m", .output = "small.gguf"});
//   nibble::Quantized best = nibble::quantize(model, {.budget = {.bits_per_weight = 4.5}, .output = "small.gguf",
//                                                     .method = "gptq", .calibration = {.texts = {{"a.txt", text}}}});
//
// Functions may be called from many threads at once, for different outputs; each has threads of its own.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "nibble/calibrate.h"
#include "nibble/evaluate.h"
#include "nibble/model.h"
#include "nibble/progress.h"

namespace nibble {

// At most one is given.
struct Budget {
  std::optional<double> bits_per_weight{};  // of all tensors
  std::optional<std::uint64_t> bytes{};     // the same in bytes
  std::optional<double> max_kl{};           // divergence from the original, in nats
};

// What methods and budgets look at: statistics, or else texts that are walked through the model meanwhile. A budget
// needs texts.
struct CalibrationRequest {
  CalibrationStatistics statistics{};
  std::vector<NamedText> texts{};
  SamplingOptions sampling{};
  WalkArithmetic arithmetic = WalkArithmetic::automatic;
  std::filesystem::path spill_directory{};  // as CalibrateRequest::spill_directory
};

// The finished output is read side by side with its source before it takes its place.
struct VerifyRequest {
  std::vector<NamedText> texts{};  // none: nothing is judged (by a budget: on the end of the calibration texts)
  std::vector<Requirement> requirements{};  // not met: nothing is written. None: measured and written
  std::size_t split_windows = 32;           // as EvaluateRequest::split_windows
};

// Shares of a Linear's outputs' mean square.
struct OutputError {
  double nearest = 0;  // of the format's nearest values on its default grid
  double stored = 0;   // of what the method chose
};

// How many tokens each of a layer's experts was sent.
struct ExpertTokens {
  std::int64_t layer = 0;
  std::uint64_t experts = 0, used = 0;             // used: were sent any
  std::uint64_t few = 0;                           // too few for what they saw to be taken alone
  std::uint64_t fewest = 0, median = 0, most = 0;  // tokens; median: of an even number the upper one of two
  std::vector<std::uint64_t> unused{};             // the experts that were sent none
};

// How methods that learn layer by layer (signround, blockwise) do it. What is not given is the method's own.
struct LearningOptions {
  std::optional<std::uint64_t> steps{};  // of each layer
  std::optional<std::uint64_t> batch{};  // windows in a step
  // Of what is rounded, a step: of signround in distances between two points, of blockwise the share of its way.
  std::optional<double> rate{};
};

// What a layer has learnt. Errors of its output, as shares of the original's mean square, on windows that it has not
// learnt from.
struct LearntLayer {
  std::int64_t layer = 0;
  double before = 0, after = 0;
  std::uint64_t kept_step = 0;  // whose state was best and is stored; 0: the beginning
};

// A layer that a calibrated quantization has just finished.
struct LayerReport {
  std::uint64_t layer = 0, layers = 0;  // counted from 0; of how many
  OutputError error{};                  // mean of its Linears
  std::string worst{};                  // the Linear whose stored error is largest: "down"
  OutputError worst_error{};
  ExpertTokens experts{};               // where the layer has any: what its experts were sent
  std::optional<LearntLayer> learnt{};  // by methods that learn
  double seconds = 0;
  bool restored = false;  // it was there already: the run before was interrupted
};

struct QuantizeRequest {
  // One of these three. Names are open lists: list_format_descriptions(), list_method_descriptions(), ...
  std::string format{};  // a format or a mix, "q4_k_m", "int4:g32"; behind a plus the inputs': "int8:row+a8:static"
  std::string recipe{};  // rules as JSON, as recipe_json() gives them
  Budget budget{};       // the mix that loses least within it

  std::filesystem::path output{};    // *.gguf: one file; anything else: a Hugging Face directory
  std::string container{};           // one of list_container_descriptions(); empty: as the output's name ends
  std::string method = "rtn";        // where the recipe names none
  std::string fit{};                 // how grids are chosen: "search", "percentile:99.9"; empty: the method's own
  std::string transform{}, round{};  // stages instead of the method's own; empty: the method's
  std::optional<double> smoothquant_alpha{};
  LearningOptions learning{};
  std::string activation_fit{};                   // of static grids of inputs; empty: their own
  std::vector<std::string> include{}, exclude{};  // patterns of matrices' names, "*" any text: others, or these, stay
  std::string embedding{}, head{};                // other formats for these two; empty: what the recipe says
  CalibrationRequest calibration{};
  VerifyRequest verify{};
  bool allow_requantize = false;  // a model that is quantized already may be quantized again
  bool strict = false;            // what the output cannot hold is an error, not a substitution or a note
  bool dry_run = false;           // everything is decided, nothing written
  bool sync = false;              // the disk confirms the output before it appears
  std::function<void(const LayerReport&)> on_layer{};  // with calibration: after each layer
  MachineOptions machine{};
  ProgressCallback progress{};  // stages "quantize", "evaluate", of budgets "sensitivity" and "mixes"
};

// Why a tensor did not get the format that the recipe names.
enum class Obstacle {
  none,
  row_length,  // its rows do not fit the format's blocks
  magnitude,   // its weights are too large or too small for the format's scales
};

struct TensorSummary {
  std::string name;  // as the output spells it
  std::uint64_t rows = 0, cols = 0;
  std::string source_format, format;
  std::string wanted;                  // the recipe's format when it could not hold the tensor
  Obstacle obstacle = Obstacle::none;  // why not
  bool linear = false;                 // a layer's Linear (not embedding, head, norm or bias)
  std::string kind;                    // what it is in any family: "q", "down", "embedding", "attention_norm"
  std::uint64_t bytes = 0;
  std::optional<OutputError> error;  // of calibrated quantizations

  std::uint64_t elements() const { return rows * cols; }
};

struct QuantizeSummary {
  std::filesystem::path output;
  std::string recipe;
  std::string activations;  // the format that is stored with the model; empty: none
  std::vector<TensorSummary> tensors;
  std::vector<std::string> ignored;  // tensors of the source that the model does not use
  std::vector<std::string>
      uninformed;  // tensors whose method asks for statistics, which have nothing of them, or zeros
  std::vector<std::string>
      warnings;  // a line each: calibration that is too little, or inputs whose rounding has no kernels
  std::vector<ExpertTokens> experts;  // of calibrated quantizations, by layer
  std::vector<LearntLayer> learnt;    // by methods that learn
  std::vector<std::string> unlearnt;  // matrices that such a method leaves as it began with them, and why
  std::vector<std::string> notes;     // what else the output holds otherwise than the source, a sentence each
  std::uint64_t source_bytes = 0;     // of all weight files
  std::uint64_t tensor_bytes = 0;     // of all tensors in the output
  std::uint64_t output_bytes =
      0;  // of the weight files, written or (a dry run) to be written: headers and padding included
  std::uint64_t parameters = 0;
  std::uint64_t substitutions = 0, substituted_parameters = 0;
  double bits_per_weight = 0;         // all of the output's weight bytes
  double linear_bits_per_weight = 0;  // of the layers' Linears alone
  std::string source_hash;            // XXH3-64 of the source's tensors; empty for a dry run
};

// One mix that a budget tried.
struct BudgetAttempt {
  double bits_per_weight = 0;      // of all tensors
  std::uint64_t output_bytes = 0;  // 0 when it was not accepted
  double expected_kl = 0;
  Figure kl{};  // as judged
  bool accepted = false;
};

struct Quantized {
  QuantizeSummary summary{};
  std::string substitutions_text{};        // which tensors got another format than asked for; empty when there are none
  std::string recipe{};                    // the rules that were used, as JSON
  bool written = false;                    // false after a dry run, or where a requirement was not met
  std::optional<PairedVerdict> verdict{};  // where it was verified
  std::optional<Acceptance> acceptance{};  // where something was required
  std::vector<BudgetAttempt> attempts{};   // of a budget
};

// The output appears whole or not at all, and is the same bytes for any number of threads. What an interrupted
// calibrated run has finished lies beside the output; the same request goes on from there. Errors: invalid_argument,
// unsupported, unusable_input (weights that are quantized already; texts that are too short), corrupt (a weight that is
// NaN or infinite), io, resource, cancelled.
Quantized quantize(const Model& model, const QuantizeRequest& request);

// The rules behind a format or a mix, to be edited and given as QuantizeRequest::recipe. Error(invalid_argument) lists
// near names.
std::string recipe_json(std::string_view format);

enum class StatisticsNeed { none, mean_squares, second_moments };
struct MethodDescription {
  std::string name, description;
  StatisticsNeed need = StatisticsNeed::none;
};
std::vector<MethodDescription> list_method_descriptions();

struct NameDescription {
  std::string name, description;
};
std::vector<NameDescription> list_fit_descriptions();
std::vector<NameDescription> list_container_descriptions();

}  // namespace nibble
