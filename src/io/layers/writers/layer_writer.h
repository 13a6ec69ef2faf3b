// SPDX-License-Identifier: Apache-2.0
//
// How a program wants to be handed the matrices of a model: a file for each that says which formats its layout holds,
// which tensors a matrix becomes (io/packing makes their bytes) and what config.json has to say of them. What one
// writes, the scheme of that program (io/layers) reads. Internal to io/ and pipeline/export. Immutable; safe from any
// thread.
//
// A new one is a file here, and a container that writes with it (pipeline/export).
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "format/activation_format.h"
#include "format/format.h"
#include "format/planar/spec.h"
#include "io/checkpoint_writer.h"

namespace nibble {

// A tensor that a matrix becomes, before its numbers are known.
struct LayerTensorPlan {
  std::string role;  // what follows the module in its name: ".qweight"
  DType dtype;
  Shape shape;
};

// The head's module in directories, which stays as it is where no program says otherwise.
inline constexpr std::string_view kHead = "lm_head";

// What a directory will hold.
struct LayerPlan {
  std::vector<PlannedTensor> coded;               // matrices in codes, "P.weight"
  std::vector<std::string> plain{};               // modules that stay as they are where others become codes: "lm_head"
  std::optional<ActivationFormat> activations{};  // how inputs are rounded
};

class LayerWriter {
 public:
  using Json = nlohmann::ordered_json;
  virtual ~LayerWriter() = default;

  virtual std::string_view program() const noexcept = 0;  // "GPTQ", for messages
  // Why a matrix in codes cannot be written so; empty: it can.
  virtual std::string refusal(const PlannedTensor& matrix) const = 0;
  // What a matrix gets in place of a format that is asked for: the same points on the grids that the layout has.
  virtual FormatPtr own_form(const FormatPtr& format) const { return format; }
  // What mixes are made of; one alone where all matrices have the same.
  virtual std::vector<std::string> mixed_formats() const = 0;
  // The format of about as many bits that a matrix of this shape can have; empty: none.
  virtual std::string nearest(const PlannedTensor& matrix) const = 0;
  // Whether what is written can say that inputs are rounded so.
  virtual bool takes_inputs(const ActivationFormat&) const noexcept { return false; }
  // Why these, each of which can be written, cannot lie side by side, or beside such inputs; empty: they can.
  virtual std::string conflict(const LayerPlan&) const { return {}; }
  virtual bool takes_embedding() const noexcept { return false; }
  virtual bool takes_head() const noexcept { return false; }
  // Whether experts lie in stacks [experts, out, in], and not each by itself.
  virtual bool stacks_experts() const noexcept { return false; }
  // Whether matrices keep what they have of this beside codes and grids.
  virtual bool takes_part(TensorPart) const noexcept { return false; }

  // Of a matrix that is not refused.
  virtual std::vector<LayerTensorPlan> tensors(const PlannedTensor& matrix, const LayerPlan& plan) const = 0;
  // Their bytes, in the same order, of shapes with as many elements; of a stack, matrices one below the other. where:
  // for messages.
  virtual std::vector<Tensor> pack(const QuantizedView& matrix, const LayerPlan& plan,
                                   const std::string& where) const = 0;
  // The format that is read from what is written, where that is another, which holds the same numbers.
  virtual std::string reads_as(const PlannedTensor& matrix) const;
  // Keys of config.json.
  virtual Json settings(const LayerPlan& plan) const = 0;
  // Why vLLM does not load what is planned, a sentence each.
  virtual std::vector<std::string> vllm_obstacles(const LayerPlan& plan) const;
  // Which programs do not take what is planned, a sentence each.
  virtual std::vector<std::string> notes(const LayerPlan&) const { return {}; }
};

// "model.layers.0.mlp.up_proj" of "model.layers.0.mlp.up_proj.weight".
std::string_view module_of(std::string_view weight);

// The spelled-out description of a planar format; null for others.
const PlanarSpec* planar_spec(const PlannedTensor& matrix);

inline constexpr std::string_view kExpertsNote =
    "transformers 5.24 loads no experts in codes from such a directory; vLLM does, on a GPU";

// Whether a matrix is one of several experts', each a module of its own.
bool is_expert(const PlannedTensor& matrix);

// What integers in groups, or rows, a layout has.
struct IntegerLayout {
  std::vector<unsigned> bits;
  bool takes_asymmetric = false, takes_rows = true;
  bool takes_f32 = false;     // scales; f16 and bf16 are always taken
  unsigned row_multiple = 1;  // of outputs, in codes
  bool fills_words = false;  // codes of all inputs fill words of 32 bits, and of all outputs where row_multiple asks so
};

// Why integers in groups or rows do not fit; empty: they do.
std::string refuse_integers(const PlannedTensor& matrix, const IntegerLayout& layout, std::string_view who);
// The format of integers whose bits are nearest, in the groups that it has where they divide the rows.
std::string nearest_integers(const PlannedTensor& matrix, const IntegerLayout& layout);

// Inputs that share a scale; 0: all of them.
inline std::uint32_t group_of(const PlanarSpec& spec) { return spec.grain == PlanarGrain::row ? 0 : spec.group; }

// Whether a matrix's inputs are in an order of their own.
bool has_order(const PlannedTensor& matrix);

// Matrices that are stored alike: in one format, their inputs all in order or all in one of their own.
struct LayerClass {
  std::string format;  // its name
  bool is_ordered = false;
  std::vector<const PlannedTensor*> matrices;  // in their order
};
// The one with the most numbers first.
std::vector<LayerClass> classes_of(const LayerPlan& plan);

// The module in which vLLM joins q, k and v, or gate and up, of a layer: "model.layers.0.self_attn.qkv_proj"; empty
// where it joins none.
std::string joined_module(std::string_view module);
// Whether vLLM has kernels for integers in such groups.
bool has_vllm_group(const PlanarSpec& spec);

// A directory as make_directory_writer's, whose matrices in codes lie as `layers` says; config.json among the side
// files has its settings already.
std::unique_ptr<CheckpointWriter> make_layer_directory_writer(const std::filesystem::path& path,
                                                              const std::vector<SideFile>& side_files,
                                                              const std::vector<PlannedTensor>& plan,
                                                              std::uint64_t shard_bytes,
                                                              const std::vector<SideTensor>& side_tensors,
                                                              const LayerWriter& layers, const LayerPlan& layer_plan);

const LayerWriter& gptq_writer();     // checkpoint_format "gptq"
const LayerWriter& gptq_v2_writer();  // zero points as they are
const LayerWriter& awq_writer();
const LayerWriter& compressed_tensors_writer();
const LayerWriter& bitsandbytes_writer();
const LayerWriter& mlx_writer();

}  // namespace nibble
