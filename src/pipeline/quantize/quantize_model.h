// SPDX-License-Identifier: Apache-2.0
//
// A whole model into another format and container: any checkpoint to one GGUF file or to a Hugging Face directory.
// Works through the tensors in bands of rows, so that memory is bounded by a band, whatever the model's size. The same
// inputs give the same bytes on any number of threads. The output appears whole or not at all.
//
//   QuantizeModelOptions options{.recipe = find_recipe("q4_k_m"), .output = "out.gguf"};
//   QuantizeSummary summary = quantize_model(SourceModel::open("models/tale"), options, machine, {});
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "calibrate/calibration_text.h"
#include "calibrate/layer_walk.h"
#include "format/activation_format.h"
#include "io/checkpoint_writer.h"
#include "kernels/linear/linear.h"
#include "kernels/machine.h"
#include "model/source_model.h"
#include "nibble/progress.h"
#include "nibble/quantize.h"
#include "pipeline/export/onnx_options.h"
#include "pipeline/quantize/hessian.h"
#include "quantize/output_error.h"
#include "quantize/recipe.h"
#include "quantize/statistics.h"

namespace nibble {

// What methods that need statistics are given: a file's, or texts that are walked through the model while it is
// quantized.
struct Calibration {
  const Statistics* statistics = nullptr;
  std::vector<CalibrationText> texts{};  // used when there are no statistics
  SamplingOptions sampling{};
  KernelOptions kernels{};
  WalkArithmetic walk = WalkArithmetic::automatic;
  std::filesystem::path spill_directory{};  // as WalkOptions::spill_directory
  // With texts: weights aim at the original's outputs although their inputs come from quantized layers
  // (quantize/round/target.h).
  bool follow_original = true;
  Hessian hessian{};  // with texts: what moments weigh their tokens by
};

// How the inputs of quantized Linears are rounded: stored with the model, for every engine that reads it.
struct StoredActivations;

struct ActivationChoice {
  ActivationFormat format{};
  FitOptions fit{};                          // of static grids (quantize/fit/activation_fit.h)
  const StoredActivations* grids = nullptr;  // static ones of the source, which are kept; null: they are fitted
};

struct QuantizeModelOptions {
  Recipe recipe{};
  std::optional<ActivationChoice> activations{};  // none: whoever runs the model decides
  std::string method = "rtn";                     // where the recipe names none
  std::optional<FitOptions> fit{};                // instead of the method's own
  std::string transform{}, round{};               // stages instead of the method's own, by name; empty: the method's
  std::optional<double> smoothquant_alpha{};
  LearningOptions learning{};  // of methods that learn layer by layer
  std::vector<std::string> include{},
      exclude{};                      // patterns of matrices' names, "*" any text: others, or these, stay as they are
  std::string embedding{}, head{};    // formats in place of the recipe's; empty: the recipe decides
  std::filesystem::path output{};     // *.gguf: one file; anything else: a directory
  std::string container{};            // a name of pipeline/export/; empty: as the output's name ends
  OnnxOptions onnx{};                 // of containers with an ONNX graph
  std::uint64_t rounded_numbers = 0;  // by a conversion that is not exact
  std::string distilled{};            // how the source's numbers were trained, as JSON for the manifest; empty: not
  std::string runtime{};              // a name of pipeline/export/runtime.h, which then must take it; empty: any may
  bool allow_requantize = false;      // a source that is quantized already may be quantized again
  bool strict = false;                // a format that cannot hold a tensor is an error, not a substitution
  bool dry_run =
      false;  // decide everything, write nothing (output may be empty: a file is assumed where the formats allow it)
  std::uint64_t shard_bytes = 0;                       // the largest weight file of a directory; 0: the container's own
  bool sync = false;                                   // fsync before the output appears
  OutputJudge judge{};                                 // sees the finished output before it takes its place
  Calibration calibration{};                           // for methods that need statistics
  std::function<void(const LayerReport&)> on_layer{};  // with statistics: after each layer
  std::function<void(const std::string&)> note{};      // what is known before the first one
};

// Why a tensor did not get the format that the recipe names, in words.
std::string_view obstacle_name(Obstacle obstacle);

// "int8:row+a8:static": recipe and, behind a plus, activations. Error(invalid_argument) lists near names.
void choose_format(QuantizeModelOptions& options, std::string_view spelling);

// Errors: invalid_argument (options that contradict each other or the container), unsupported, unusable_input (weights
// that are quantized already), corrupt (weights that are no numbers), io, resource, cancelled.
QuantizeSummary quantize_model(const SourceModel& source, const QuantizeModelOptions& options, Machine& machine,
                               const ProgressCallback& progress);

// Where a calibrated quantization keeps finished pieces until the output is whole; the same command goes on from there.
std::filesystem::path unfinished_work(const std::filesystem::path& output);
// Where one in two steps keeps the weights meanwhile.
std::filesystem::path unfinished_weights(const std::filesystem::path& output);

// What the output's weight files would hold beside tensors: headers and padding, at most, for this recipe or one that
// is little else. Writes nothing.
std::uint64_t container_bytes(const SourceModel& source, const QuantizeModelOptions& options);

// "12 of 146 tensors, 31.0 % of parameters, are not q4_k because their rows do not fit its blocks: q4_k became q5_0 in
// 12 (576 is not a multiple of 256)", the same for each obstacle; empty when there are none.
std::string describe_substitutions(const QuantizeSummary& summary);

}  // namespace nibble
