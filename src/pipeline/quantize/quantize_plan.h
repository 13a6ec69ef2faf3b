// SPDX-License-Identifier: Apache-2.0
//
// What quantize_model is going to write, decided before the first byte: every tensor's name, format and row order in
// the output.
#pragma once

#include <string>
#include <vector>

#include "io/checkpoint_writer.h"
#include "kernels/machine.h"
#include "model/arch/architecture.h"
#include "model/source_model.h"
#include "pipeline/quantize/quantize_model.h"
#include "pipeline/quantize/source_survey.h"
#include "quantize/method.h"

namespace nibble {

struct TensorPlan {
  const StoredTensor* source = nullptr;
  PlannedTensor target{};
  TensorRole role = TensorRole::linear;
  std::uint64_t rows = 0, cols = 0;
  std::string wanted{};                // the recipe's format when it could not hold the tensor
  Obstacle obstacle = Obstacle::none;  // why not
  std::string uncoded{};  // the recipe's format where the container has such tensors in floating point alone
  std::string method{};
  std::string kind{};  // ModelTensor::kind
  // Of each of the output's rows (of vectors: elements) or columns the source's; empty: in order.
  std::vector<std::uint32_t> row_order{}, column_order{};
  StoredNumbers source_numbers{}, target_numbers{};  // of vectors
};

class Container;

struct QuantizePlan {
  ModelConfig config;                    // without an architecture where no family draws the network
  std::uint64_t num_experts = 0;         // that its keys tell all the same
  const Container* container = nullptr;  // of the output
  Spelling source_spelling = Spelling::huggingface, target_spelling = Spelling::gguf;
  Recipe recipe;  // with overrides applied
  std::vector<TensorPlan> tensors;
  std::vector<RopeTensor> rope_tensors;  // of GGUF files of some models
  std::uint64_t shard_bytes = 0;         // QuantizeModelOptions'
  OnnxOptions onnx;                      // the same
  std::vector<std::string> ignored;
  std::vector<std::string> notes;  // what the source holds that the output does not, or holds otherwise

  bool is_understood() const { return !config.architecture.empty(); }
};

QuantizePlan plan_quantization(const SourceModel& source, const QuantizeModelOptions& options);

// Tensors that may hold what is too large for their format: what substitute_unheld asks a survey for.
std::vector<const StoredTensor*> peaks_to_find(const QuantizePlan& plan);
// Gives tensors whose magnitude their format's scales cannot hold another format, or refuses when options.strict. Reads
// a few rows of each.
void substitute_unheld(QuantizePlan& plan, const SourceModel& source, const SourceSurvey& survey,
                       const QuantizeModelOptions& options, Machine& machine);
// What a matrix is written in that a container has in floating point alone.
FormatPtr uncoded_format(const StoredTensor& stored);
// Whether the container holds all that a tensor has beside codes and grids.
bool keeps_parts(const TensorSource& source, const Container& container);
// Whether a tensor in its own format is a copy there of codes and grids, and of what it has beside them: rows may
// change their places where they share nothing, columns may not.
bool is_copied(const TensorSource& source, const Container& container, bool moves_rows, bool moves_columns);
// Error(invalid_argument) where the container cannot hold a tensor in its format, or all of them together.
void require_containable(const QuantizePlan& plan, const QuantizeModelOptions& options);
// Error(unsupported) for elements that are no numbers of a known format.
void require_weights(const StoredTensor& stored);
// Something of the source that the output cannot hold: a note, or with `strict` Error(unsupported).
void add_loss(std::string loss, bool strict, std::vector<std::string>& notes);

// Before anything is looked at that takes time: that the output may stand where it is wanted. Error(invalid_argument):
// over the model that is read; Error(io): in no directory, or in the place of something else.
void require_place(const Checkpoint& source, const Container& container, const std::filesystem::path& output);

// What was written must be a model that can be read: the configuration that was meant, and every tensor in the shape
// that it asks for. Error(internal) otherwise. output: for messages.
void require_readable(const SourceModel& written, const QuantizePlan& meant, const std::string& output);

// Norms, biases and coefficients, which are no matrices and stay in floating point.
inline bool is_vector(TensorRole role) {
  return role == TensorRole::norm || role == TensorRole::bias || role == TensorRole::coefficients;
}
// These, routers, which are small and choose, and what stays exact.
inline bool stays_in_float(TensorRole role) {
  return is_vector(role) || role == TensorRole::router || role == TensorRole::exact;
}

// Error(unsupported) names a stack of experts whose format would let two of them share a grid.
void require_whole_matrices(const PlannedTensor& tensor);

// The tensors of the output: a plan's, of which those of one name (experts) are one stack; and by place in the plan
// which of them holds it.
struct OutputTensors {
  std::vector<PlannedTensor> planned;
  std::vector<std::size_t> of_plan;
};
OutputTensors output_tensors(const QuantizePlan& plan);

// Of all planes of a matrix.
std::uint64_t plane_bytes(const Format& format, std::uint64_t rows, std::uint64_t cols);

// What a recipe may ask about a tensor of this model.
TensorFacts tensor_facts(const ModelTensor& tensor, const ModelConfig& config);

// The tensor's method with the caller's changes.
Method method_for(const TensorPlan& tensor, const QuantizeModelOptions& options);

}  // namespace nibble
