// SPDX-License-Identifier: Apache-2.0
//
// The containers that a model can be handed on in: how tensors are named, what lies beside them, and how they become
// bytes. A new one is a file and a line in the list. Immutable, safe to use from many threads. Internal to pipeline/.
//
//   const Container& container = find_container("gguf");
//   auto writer = container.make_writer({source, plan, activations, manifest, tensors}, "out.gguf");
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "format/format.h"
#include "io/checkpoint_writer.h"
#include "model/arch/architecture.h"
#include "model/source_model.h"
#include "model/stored_activations.h"

namespace nibble {

struct QuantizePlan;

struct ContainerContents {
  const SourceModel& source;
  const QuantizePlan& plan;
  const StoredActivations& activations;
  const std::string& manifest;
  const std::vector<PlannedTensor>& tensors;
};

class Container {
 public:
  virtual ~Container() = default;
  virtual std::string_view name() const noexcept = 0;         // "gguf": what --to takes
  virtual std::string_view description() const noexcept = 0;  // one line for help
  virtual Spelling naming() const noexcept = 0;
  virtual bool is_file() const noexcept = 0;                         // else a directory
  virtual bool takes_shards() const noexcept { return !is_file(); }  // whether weights may lie in several files
  // What a tensor is called; of experts one name where they lie in a stack.
  virtual const std::string& name_of(const ModelTensor& tensor) const { return tensor.name(naming()); }
  // Whether matrices of this role can lie in it in codes; those of others stay in floating point.
  virtual bool takes_codes(TensorRole) const noexcept { return true; }
  // Why a tensor in this format cannot lie in it, and what to do about it; empty: it can.
  virtual std::string refusal(const PlannedTensor&, TensorRole) const { return {}; }
  // What a matrix gets in place of a format that is asked for: the same points on the grids that the container has.
  virtual FormatPtr own_form(const FormatPtr& format) const { return format; }
  // Whether it can say that inputs are rounded so.
  virtual bool takes_inputs(const ActivationFormat&) const noexcept { return true; }
  // Why tensors that can, each by itself, cannot lie in it together, or beside such inputs; empty: they can.
  virtual std::string conflict(const QuantizePlan&, const std::optional<ActivationFormat>&) const { return {}; }
  // Whether tensors keep what they have of this beside codes and grids (format/tensor_parts.h).
  virtual bool holds(TensorPart) const noexcept { return false; }
  // Why a program of pipeline/export/runtime.h does not take what is planned, although it reads the container; empty:
  // it does.
  virtual std::string obstacle(std::string_view, const QuantizePlan&, const std::optional<ActivationFormat>&) const {
    return {};
  }
  // What budgets choose from (SensitivityOptions::formats); empty: the usual ones.
  virtual std::vector<std::string> budget_formats() const { return {}; }
  // What they choose from beside for matrices that cannot have all of these (SensitivityOptions::other_formats).
  virtual std::vector<std::string> other_budget_formats() const { return {}; }
  // What another recipe of about the same size may need beside its tensors more than this one, in bytes a tensor.
  virtual std::uint64_t margin() const noexcept = 0;
  // What is wrong with replacing what stands at `output`: "is a directory". Empty: it is an earlier output, or nothing
  // stands there.
  virtual std::string in_the_way(const std::filesystem::path& output) const = 0;
  // Errors of the writer's kind; what cannot be translated is Error(unsupported).
  virtual std::unique_ptr<CheckpointWriter> make_writer(const ContainerContents& contents,
                                                        const std::filesystem::path& output) const = 0;
  // Error(corrupt) where what lies beside the weights could not be read from the output again.
  virtual void require_sound(const SourceModel&) const {}
  // What whoever uses the output should know, and no fault of the container, a sentence each.
  virtual std::vector<std::string> notes(const SourceModel&, const QuantizePlan&,
                                         const std::optional<ActivationFormat>&) const {
    return {};
  }
  // What of the source it cannot hold, a sentence each.
  virtual std::vector<std::string> losses(const SourceModel&) const { return {}; }
};

// In the order in which help shows them.
std::span<const Container* const> list_containers();

std::string container_names();  // "gguf, nibble, ...", for help and messages

// Error(invalid_argument) lists the known names.
const Container& find_container(std::string_view name);

// By the ending of an output's name: a GGUF file or a directory. Error(invalid_argument) for one of another file.
const Container& container_of(const std::filesystem::path& output);

// The one of this name; without a name by the output's; without either nibble's own where it must be a directory, and
// a GGUF file otherwise. Errors of the two above.
const Container& choose_container(std::string_view name, const std::filesystem::path& output,
                                  const std::function<bool()>& needs_directory);

// Error(io) when an output of this container would take the place of something else than an earlier output.
void require_replaceable(const Container& container, const std::filesystem::path& output);

const Container& gguf_container();
const Container& nibble_container();
// Directories of other programs (io/layers/writers).
const Container& gptq_container();
const Container& gptq_v2_container();
const Container& awq_container();
const Container& compressed_tensors_container();
const Container& bitsandbytes_container();
const Container& mlx_container();
// Directories with an ONNX graph.
const Container& onnx_genai_container();
const Container& onnx_container();

}  // namespace nibble
