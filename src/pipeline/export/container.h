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
#include <memory>
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
  virtual bool is_file() const noexcept = 0;  // else a directory
  // Why a tensor in this format cannot lie in it, and what to do about it; empty: it can.
  virtual std::string refusal(const FormatInfo&) const { return {}; }
  // Whether tensors keep input orders, tensor scales and other parts in it (format/tensor_parts.h).
  virtual bool holds_parts() const noexcept { return false; }
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
  // What whoever uses the output should know of the source, and no fault of the container; empty: nothing.
  virtual std::string note(const SourceModel&) const { return {}; }
  // What of the source it cannot hold, a sentence each.
  virtual std::vector<std::string> losses(const SourceModel&) const { return {}; }
};

// In the order in which help shows them.
std::span<const Container* const> list_containers();

// Error(invalid_argument) lists the known names.
const Container& find_container(std::string_view name);

// By the ending of an output's name: a GGUF file or a directory. Error(invalid_argument) for a single safetensors file.
const Container& container_of(const std::filesystem::path& output);

// Error(io) when an output of this container would take the place of something else than an earlier output.
void require_replaceable(const Container& container, const std::filesystem::path& output);

const Container& gguf_container();
const Container& nibble_container();

}  // namespace nibble
