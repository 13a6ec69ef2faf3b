// SPDX-License-Identifier: Apache-2.0
//
// How quantized tensors lie in a Hugging Face directory. config.json says which they are:
//
//   "quantization_config": {"quant_method": "nibble", "version": 1, "tensors": {
//     "model.layers.0.self_attn.q_proj.weight": {"format": "int4:g32", "shape": [256, 256]}}}
//
// and each is stored as the planes of its format: plane "codes" of the tensor above is the safetensors tensor
// "model.layers.0.self_attn.q_proj.codes" (".weight" gives way to the plane's suffix). A format with one plane without
// a suffix (all block formats) keeps the tensor's own name. Tensors that are not listed are plain. docs/container.md is
// the specification. Safe from any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/checkpoint.h"
#include "io/checkpoint_writer.h"

namespace nibble {

inline constexpr int kContainerVersion = 2;       // the newest that is read; written where a tensor has parts
inline constexpr int kContainerVersionPlain = 1;  // without

// What the list says of a tensor: its planes lie elsewhere.
struct ListedTensor {
  PlannedTensor tensor;                                // without parts
  std::vector<std::string> part_planes;                // suffixes
  ChannelTransform input_transform, output_transform;  // without signs
};

// "P.weight" and plane "codes" -> "P.codes"; an empty suffix keeps the name.
std::string plane_name(std::string_view tensor, std::string_view suffix);

// What config.json lists, in its order; nullopt when it has no quantization_config of this container. Errors: corrupt,
// unsupported (a newer version, a format not known here); they name `source`.
std::optional<std::vector<ListedTensor>> read_container_plan(const std::string& config_json, const std::string& source);

// config.json with quantization_config listing every tensor of the plan that is not raw. Other keys stay as they are. A
// plan of raw tensors alone loses the quantization_config of an earlier container.
std::string write_container_plan(const std::string& config_json, const std::vector<PlannedTensor>& plan,
                                 const std::string& source);

// Replaces the planes among `tensors` by the tensors that they form; what is missing, left over or of the wrong type or
// shape is Error(corrupt) that names it.
void assemble_planes(std::vector<StoredTensor>& tensors, const std::vector<ListedTensor>& plan,
                     const std::string& directory);

}  // namespace nibble
