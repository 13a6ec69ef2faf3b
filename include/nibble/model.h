// SPDX-License-Identifier: Apache-2.0
//
// A trained model on disk: a Hugging Face directory, a safetensors file or a GGUF file. Opened means mapped and judged;
// no weight is read yet. Copies share the same files. Safe to use from many threads.
//
//   nibble::Model model = nibble::open_model("models/tale-4M");
//   std::cout << model.info().parameters << '\n';
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "nibble/error.h"

namespace nibble {

// The version of this library, "0.1.0".
std::string_view version() noexcept;

struct ModelInfo {
  std::string container;     // "gguf", "huggingface", "safetensors"
  std::string architecture;  // "llama"; empty when the file holds no configuration
  std::uint64_t parameters = 0;
  std::uint64_t tensors = 0;
  std::uint64_t bytes = 0;     // of all weight files
  double bits_per_weight = 0;  // bytes * 8 / parameters
  std::uint64_t vocabulary = 0, hidden = 0, layers = 0, context = 0;
  std::uint64_t intermediate = 0, heads = 0, kv_heads = 0, head_dim = 0;
  double rope_base = 0;
  bool tied_head = false;     // the embedding is the head, too
  std::string tokenizer;      // "byte-level BPE (llama-bpe)"; empty where there is none
  std::string chat_template;  // how turns are written, as the file has it (Jinja); empty where there is none
  std::string quantizer;      // who wrote a quantized file and how, as it says itself; empty where it does not
  std::string activations;    // how the file wants inputs rounded, "a8:g128:wide"; empty where it does not say
  std::string obstacle;       // why it cannot be run, as an error would say it; empty where its configuration can
};

class Model {
 public:
  struct State;
  explicit Model(std::shared_ptr<const State> state) : state_(std::move(state)) {}
  const ModelInfo& info() const noexcept;
  const std::filesystem::path& path() const noexcept;
  const State& state() const noexcept { return *state_; }  // the library's own

 private:
  std::shared_ptr<const State> state_;
};

// Errors: not_found, corrupt (names file, tensor, offset), unsupported.
Model open_model(const std::filesystem::path& path);

// What every operation may be told about the machine.
struct MachineOptions {
  std::size_t threads = 0;  // 0: as many processors as this process may use
  std::string isa{};        // "scalar", "avx2", "avxvnni", "avx512"; empty: the best that this processor has
};

}  // namespace nibble
