// SPDX-License-Identifier: Apache-2.0
//
// A trained model on disk: a Hugging Face directory, a safetensors file or a GGUF file. Opened means mapped and judged;
// no weight is read yet. Copies share the same files. Safe to use from many threads.
//
//   nibble::Model model = nibble::open_model("models/fable-5M");
//   std::cout << model.info().parameters << '\n';
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

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
  std::uint64_t experts = 0, experts_used = 0;  // of a layer, and to how many a token is sent; 0: it has none
  double rope_base = 0;
  bool tied_head = false;     // the embedding is the head, too
  std::string tokenizer;      // "byte-level BPE (llama-bpe)"; empty where there is none
  std::string chat_template;  // how turns are written, as the file has it (Jinja); empty where there is none
  std::string quantizer;      // who wrote a quantized file and how, as it says itself; empty where it does not
  std::string activations;    // how the file wants inputs rounded, "a8:g128:wide"; empty where it does not say
  std::string obstacle;       // why it cannot be run, as an error would say it; empty where its configuration can
};

struct TensorInfo {
  std::string name;                  // as the file spells it
  std::vector<std::uint64_t> shape;  // outermost first: [rows, cols] or [n]
  std::string format;                // "q4_k", "bf16"; the element type of tensors that are no weights
  std::uint64_t elements = 0, bytes = 0;
};

struct EncodeOptions {
  bool add_special = true;     // begin-of-text (and end-of-text) tokens as the tokenizer's own settings say
  bool parse_special = false;  // recognise the text of control tokens ("<|end_of_text|>") in the input
};

// Everything about it is const and may be called from many threads at once.
class Model {
 public:
  struct State;
  explicit Model(std::shared_ptr<const State> state) : state_(std::move(state)) {}
  const ModelInfo& info() const noexcept;
  const std::filesystem::path& path() const noexcept;

  std::vector<TensorInfo> list_tensors() const;
  // A tensor's values in f32, row-major. Error(not_found) names file and tensor; Error(unsupported): it holds no
  // weights.
  std::vector<float> read_tensor(std::string_view name) const;

  // Text to token ids and back, by the model's own tokenizer. Bytes that are no UTF-8 become U+FFFD. Errors: not_found
  // (no tokenizer), corrupt, unsupported; invalid_argument for an id that is no token.
  std::vector<std::int32_t> encode(std::string_view text, const EncodeOptions& options = {}) const;
  // skip_special: control tokens are left out.
  std::string decode(std::span<const std::int32_t> tokens, bool skip_special = false) const;
  // One token's bytes as they are appended to running text; a character may be spread over several tokens.
  std::string piece(std::int32_t token) const;
  bool ends_generation(std::int32_t token) const;

  const State& state() const noexcept { return *state_; }  // the library's own

 private:
  std::shared_ptr<const State> state_;
};

// Errors: not_found, corrupt (names file, tensor, offset), unsupported.
Model open_model(const std::filesystem::path& path);

// A text, and what it is called in results and messages.
struct NamedText {
  std::string name, text;
};

// Whose kernels run. Results of f32 and integer arithmetic are the same bits with any of them.
// best: of those that this processor has.
enum class InstructionSet { best, scalar, avx2, avxvnni, avx512, neon, neon_dot, neon_i8mm };

// What every operation may be told about the machine. Error(invalid_argument) where the processor lacks the set.
struct MachineOptions {
  std::size_t threads = 0;  // 0: as many processors as this process may use
  InstructionSet instruction_set = InstructionSet::best;
};

// How the inputs of Linears enter products. automatic: as the model's file says, else in 8 bits where weights are
// quantized; where models are run, and not judged, bf16 where weights are bf16 and the processor is fast at that.
enum class ActivationArithmetic { automatic, f32, bf16, int8 };
// How keys and values are kept. automatic: q8_0 where weights are quantized, else f16. Codes are of keys that a
// Hadamard transform rotates; in the rotated types it rotates values, too.
enum class KeyValueStorage { automatic, f32, f16, q8_0, q4_0, q8_0_rotated, q4_0_rotated };

struct ArithmeticOptions {
  ActivationArithmetic activations = ActivationArithmetic::automatic;
  std::string activation_format{};  // of int8, as formats are spelled: "a8:g32:wide"; empty: a8:g128:wide
  KeyValueStorage keys_values = KeyValueStorage::automatic;
};

}  // namespace nibble
