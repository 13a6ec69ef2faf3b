// SPDX-License-Identifier: Apache-2.0
//
// A model in memory, ready to run: loaded once, then stepped through as many sequences as there is room for.
//
//   nibble::LoadedModel loaded(nibble::open_model("small.gguf"));
//   nibble::Sequence sequence = loaded.new_sequence(512);
//   std::vector<float> logits = loaded.next_logits(sequence, loaded.model().encode("Once upon a time"));
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "nibble/model.h"
#include "nibble/progress.h"

namespace nibble {

struct LoadOptions {
  ArithmeticOptions arithmetic{};
  MachineOptions machine{};
  ProgressCallback progress{};  // stage "load", in layers
};

// A point of a sequence to go back to.
class SequencePoint {
 public:
  struct State;
  explicit SequencePoint(std::shared_ptr<const State> state) : state_(std::move(state)) {}
  std::size_t length() const noexcept;                     // in tokens
  const State& state() const noexcept { return *state_; }  // the library's own

 private:
  std::shared_ptr<const State> state_;
};

// What a model remembers of one sequence of tokens: keys and values, and the states of layers that recur. Holds its own
// memory and may outlive the model that made it. One thread at a time; different sequences may be used from different
// threads.
class Sequence {
 public:
  struct State;
  explicit Sequence(std::unique_ptr<State> state);
  Sequence(Sequence&&) noexcept;
  Sequence& operator=(Sequence&&) noexcept;
  ~Sequence();

  std::size_t length() const noexcept;    // tokens so far
  std::size_t capacity() const noexcept;  // how long it may become
  std::uint64_t resident_bytes() const noexcept;
  void clear() noexcept;
  // Of a model with layers that recur a point has a copy of their states.
  SequencePoint save() const;
  // point: saved by this sequence since it was last cleared or went back behind it; may be gone back to more than once.
  // Error(invalid_argument): of another sequence, or of a text that this one has left, whatever its length is now.
  void restore(const SequencePoint& point);

  State& state() noexcept { return *state_; }  // the library's own

 private:
  std::unique_ptr<State> state_;
};

// Tokens to append to one sequence. Logits are made for those from `first_logits` on, which counts within tokens;
// tokens.size() makes none.
struct SequenceInput {
  Sequence* sequence;
  std::span<const std::int32_t> tokens;
  std::size_t first_logits = 0;
};

// Safe to use from many threads: steps that are asked for at the same time are made one after the other, each with all
// of the model's threads, and progress callbacks of a step must not step the same model. What serves many sequences
// fast is one step of all of them.
class LoadedModel {
 public:
  // Reads every weight once and repacks it for this processor. The files are not needed afterwards. Errors:
  // unsupported, corrupt, not_found (names the tensor), invalid_argument, resource, cancelled.
  explicit LoadedModel(const Model& model, const LoadOptions& options = {});
  LoadedModel(LoadedModel&&) noexcept;
  LoadedModel& operator=(LoadedModel&&) noexcept;
  ~LoadedModel();

  const Model& model() const noexcept;              // with the tokenizer
  std::size_t vocabulary() const noexcept;          // logits for one token
  std::size_t context() const noexcept;             // the longest sequence that the model was made for
  std::uint64_t resident_bytes() const noexcept;    // of the weights
  InstructionSet instruction_set() const noexcept;  // whose kernels run; never `best`
  KeyValueStorage keys_values() const noexcept;     // of its sequences; never `automatic`

  // capacity: how long the sequence may become, in tokens. Error(resource): more than memory holds.
  Sequence new_sequence(std::size_t capacity) const;

  // Appends tokens to several sequences at once, each at a position of its own: weights are read once for all of them.
  // Each gets the same bits as alone, however its tokens are spread over calls. logits: [sum of tokens.size() -
  // first_logits, vocabulary], in the order of inputs. progress: stage "read", in tokens. Errors, after which no
  // sequence has become longer (and those of models with layers that recur may be empty): unusable_input (an id outside
  // the vocabulary), invalid_argument (a sequence that is too short, given twice or of another model; logits of another
  // size), cancelled.
  void step(std::span<const SequenceInput> inputs, std::span<float> logits, const ProgressCallback& progress = {});

  // One sequence alone: the logits for what follows the last token, [vocabulary].
  std::vector<float> next_logits(Sequence& sequence, std::span<const std::int32_t> tokens,
                                 const ProgressCallback& progress = {});

  // Of a text from its beginning: [tokens.size() - first, vocabulary], what follows each token from `first` on. Errors:
  // unusable_input (no tokens behind `first`, more than the context has room for), resource (more numbers than memory
  // holds), and those of step.
  std::vector<float> text_logits(std::span<const std::int32_t> tokens, std::size_t first = 0,
                                 const ProgressCallback& progress = {});

  struct State;
  State& state() noexcept { return *state_; }  // the library's own

 private:
  std::unique_ptr<State> state_;
};

// A file of text, before a model reads it: UTF-8, without a byte order mark.
struct PlainText {
  std::string text;
  std::size_t replaced = 0;  // sequences of bytes that were no UTF-8, and are U+FFFD
};

// name: what messages call it. Error(unsupported) where the bytes look like something else than text, and says what:
// UTF-16, JSON, weights, anything binary. Figures of such are figures of nothing.
PlainText judge_text(std::string_view bytes, const std::string& name);

}  // namespace nibble
