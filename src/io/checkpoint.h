// SPDX-License-Identifier: Apache-2.0
//
// A trained model as it lies on disk, whatever its container: a Hugging Face directory (single or sharded safetensors,
// plain or in nibble's planar container), one safetensors file, or a GGUF file. Mapped, nothing copied until a tensor
// is read. Safe to read from many threads after opening.
//
//   auto checkpoint = Checkpoint::open("models/tale");
//   const StoredTensor& q = checkpoint.tensor("model.layers.0.self_attn.q_proj.weight");
//   q.values.decode_row(0, row);
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "format/activation_format.h"
#include "format/tensor_source.h"
#include "io/gguf/gguf_value.h"
#include "tensor/tensor.h"

namespace nibble {

enum class ContainerKind { huggingface, safetensors, gguf };

struct StoredTensor {
  std::string name;  // as the container spells it; for planar tensors the Linear's weight name ("...q_proj.weight")
  std::string wrapped_name{};  // as it stands in the file, where `name` is what a bare causal model has instead; empty:
                               // they are one
  Shape shape;                 // outermost first, as in HF: [rows, cols] or [n]
  DType dtype = DType::f32;    // of raw tensors; meaningless when the format is block or planar
  TensorSource values;      // matrices and vectors of a known format; without a format for integers and other tensors
  std::uint64_t bytes = 0;  // in the file, all planes
  std::string type_name;  // element type as the container spells it ("BF16", "Q4_K", also types unknown here); planar:
                          // the format's name
  std::span<const std::byte>
      data;                  // in the mapped file, whatever the type; empty for tensors that lie in several pieces
  std::string file;          // name of the file that holds it
  std::uint64_t offset = 0;  // of its first plane in that file
};

// How layers were read that another program has quantized; empty where there are none.
struct LayerReading {
  std::string method, place;       // "gptq", "quantization_config in config.json"; empty: nothing names one
  std::string refusal;             // why the layers stay in pieces, where the method is known; empty: no reason to
  std::vector<std::string> notes;  // what is read otherwise than it stands there, a sentence each
  std::optional<ActivationFormat> activations{};  // how inputs are rounded; none: nothing says so
};

// Any tensor as a matrix: [] is 1 x 1, [n] is 1 x n, [e, r, c] (stacked experts) is e*r x c. The product must be known
// to fit.
struct MatrixSize {
  std::uint64_t rows = 1, cols = 1;
};
MatrixSize matrix_size(const Shape& shape);

class Checkpoint {
 public:
  // Opens and judges everything that can be judged without reading weights: every rule of the safetensors and GGUF
  // specifications, shard index, planes of planar tensors. Errors name file, tensor, offset.
  static Checkpoint open(const std::filesystem::path& path);
  Checkpoint(Checkpoint&&) noexcept;
  Checkpoint& operator=(Checkpoint&&) noexcept;
  ~Checkpoint();

  ContainerKind kind() const noexcept;
  const std::filesystem::path& path() const noexcept;  // as given
  std::uint64_t file_bytes() const noexcept;           // of all weight files

  const std::vector<StoredTensor>& tensors() const noexcept;  // in file order
  const StoredTensor* find(std::string_view name) const noexcept;
  const StoredTensor& tensor(std::string_view name) const;  // Error(not_found) names file and tensor

  // HF: what was made of layers that another program has quantized.
  const LayerReading& layer_reading() const noexcept;

  // HF: the text of config.json (empty for a bare safetensors file, or when it is missing) and of other small files
  // beside it.
  const std::string& config_json() const noexcept;
  std::optional<std::string> read_side_file(
      std::string_view file_name) const;  // "generation_config.json"; nullopt when absent

  // GGUF metadata; empty for other kinds.
  const GgufMetadata& gguf() const noexcept;

  // Error(io) names the file when one of them (the tensor's) was written to or shortened since it was opened, so that
  // what was read of it is no model of anybody's. Whoever reads a whole checkpoint asks before and after. See
  // MappedFile for files that are shortened.
  void require_unchanged() const;
  void require_unchanged(const StoredTensor& tensor) const;

  // Lets go of a tensor's pages / asks for them ahead of use.
  void release(const StoredTensor& tensor) const noexcept;
  void will_need(const StoredTensor& tensor) const noexcept;
  // The same for any part of a tensor's bytes, for example the rows just read.
  void release(std::span<const std::byte> range) const noexcept;
  void will_need(std::span<const std::byte> range) const noexcept;

 private:
  struct State;
  explicit Checkpoint(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace nibble
