// SPDX-License-Identifier: Apache-2.0
//
// How a program leaves a Linear that it has quantized: a file for each that says by which names the tensors of a layer
// go, what their roles are and which packing (io/packing) they are in. Internal to io/. Immutable; safe from any
// thread.
//
// A new one is a file here, and a line in the list of layer_schemes().
#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "format/activation_format.h"
#include "io/layers/layer_settings.h"
#include "io/layers/layer_tensors.h"
#include "io/layers/module_list.h"

namespace nibble {

struct LayerWeight {
  TensorSource values;
  Shape shape{};          // empty: rows and columns of the values
  std::string name{};     // empty: the layer's, and ".weight" behind it
  std::string widened{};  // why the values are in more bits than the file has; empty: they are not
};

class LayerScheme {
 public:
  virtual ~LayerScheme() = default;

  // "GPTQ", for messages.
  virtual std::string_view program() const = 0;
  // The layer whose codes a tensor may hold, "model.layers.0.mlp.up_proj"; empty: it holds none.
  virtual std::string_view layer_of(const StoredTensor& tensor) const = 0;
  // The layer's weight; nothing where the tensor holds no codes after all. Error(corrupt, unsupported) names layer and
  // tensor.
  virtual std::optional<LayerWeight> read(LayerTensors& tensors) const = 0;

  // Tensors that belong to what is not read of the scheme (scales of a cache), and are left out.
  virtual bool is_passed_over(const StoredTensor&) const { return false; }
  // What the settings say of a layer's codes by its name, and the key that says so ("ignore").
  enum class Said : std::uint8_t { has_codes, has_none, nothing };
  virtual Said says_of(std::string_view) const { return Said::nothing; }
  virtual std::string_view key_of(std::string_view) const { return {}; }
  // What decides the shapes of a layer's tensors, for messages: "group_size 64".
  virtual std::string shape_settings(std::string_view) const { return {}; }
  // How inputs are rounded, where that has a name here.
  virtual std::optional<ActivationFormat> activations() const { return std::nullopt; }
  // What the settings say of layers that none of these modules is, a sentence each. Errors as says_of's.
  virtual std::vector<std::string> idle_notes(std::span<const std::string>) const { return {}; }
  // What the settings mean and is not read, a sentence each.
  virtual std::vector<std::string> notes() const { return {}; }
};

// What a list of modules without codes says of a layer; nothing where there is no list, or where an entry may be meant.
LayerScheme::Said said_by(const ModuleList& left, std::string_view layer);

// Whether there are zero points beside the scales.
bool has_zero_points(const LayerWeight& weight);

// "group_size 64", and -1 for all inputs, as files have it.
std::string group_text(std::uint32_t group);

// Whether a tensor's name has one of these endings.
bool has_ending(const StoredTensor& tensor, std::initializer_list<std::string_view> endings);

// What precedes `ending` in a tensor's name; empty where the name has another ending.
inline std::string_view layer_before(const StoredTensor& tensor, std::string_view ending) {
  const std::string_view name = tensor.name;
  return name.ends_with(ending) ? name.substr(0, name.size() - ending.size()) : std::string_view();
}

// By the name of the method in the settings. Error(unsupported) names the key that asks for what is not read here.
struct LayerMethod {
  std::string_view method;
  std::unique_ptr<LayerScheme> (*read)(const LayerSettings& settings);
};
std::span<const LayerMethod> layer_methods();

std::unique_ptr<LayerScheme> read_awq_scheme(const LayerSettings& settings);
std::unique_ptr<LayerScheme> read_bitnet_scheme(const LayerSettings& settings);
std::unique_ptr<LayerScheme> read_bitsandbytes_scheme(const LayerSettings& settings);
std::unique_ptr<LayerScheme> read_compressed_tensors_scheme(const LayerSettings& settings);
std::unique_ptr<LayerScheme> read_fp8_scheme(const LayerSettings& settings);
std::unique_ptr<LayerScheme> read_gptq_scheme(const LayerSettings& settings);
std::unique_ptr<LayerScheme> read_mlx_scheme(const LayerSettings& settings);
std::unique_ptr<LayerScheme> read_modelopt_scheme(const LayerSettings& settings);
std::unique_ptr<LayerScheme> read_mxfp4_scheme(const LayerSettings& settings);

}  // namespace nibble
