// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include "base/memory.h"
#include "base/plain_text.h"
#include "base/utf8.h"
#include "nibble/engine.h"
#include "nibble/error.h"
#include "pipeline/api/loaded_state.h"

namespace nibble {
namespace {

DecoderOptions decoder_options(const LoadOptions& options) {
  DecoderOptions result;
  result.kernels = api::kernels_of(options.arithmetic);
  if (options.arithmetic.activations == ActivationArithmetic::automatic)
    result.kernels.activations = ActivationMode::native;
  result.kv = api::kv_of(options.arithmetic.keys_values);
  result.progress = options.progress;
  return result;
}

// Error(invalid_argument) unless what is given is what is asked for.
void require_logits(std::size_t given, std::size_t rows, std::size_t vocabulary) {
  if (given != rows * vocabulary)
    throw Error(ErrorKind::invalid_argument,
                fmt::format("the room for logits must be of {} tokens times a vocabulary of {}; numbers: {}", rows,
                            vocabulary, given));
}

}  // namespace

LoadedModel::State::State(const Model& source, const LoadOptions& options)
    : model(source),
      machine(api::make_machine(options.machine)),
      decoder(source.state().checkpoint, decoder_options(options), machine) {}

std::size_t SequencePoint::length() const noexcept { return state_->point.length(); }

Sequence::Sequence(std::unique_ptr<State> state) : state_(std::move(state)) {}
Sequence::Sequence(Sequence&&) noexcept = default;
Sequence& Sequence::operator=(Sequence&&) noexcept = default;
Sequence::~Sequence() = default;

std::size_t Sequence::length() const noexcept { return state_->cache.length(); }
std::size_t Sequence::capacity() const noexcept { return state_->cache.capacity(); }
std::uint64_t Sequence::resident_bytes() const noexcept { return state_->cache.resident_bytes(); }
void Sequence::clear() noexcept { state_->cache.clear(); }

SequencePoint Sequence::save() const {
  return SequencePoint(
      std::make_shared<const SequencePoint::State>(SequencePoint::State{state_->identity, state_->cache.save()}));
}

void Sequence::restore(const SequencePoint& point) {
  if (point.state().sequence != state_->identity)
    throw Error(ErrorKind::invalid_argument, "a sequence goes back to points of its own only");
  if (!point.state().point.is_there())
    throw Error(ErrorKind::invalid_argument,
                fmt::format("the sequence was cleared or went back behind this point since it was saved: length {}, "
                            "point at {}",
                            length(), point.length()));
  state_->cache.restore(point.state().point);
}

LoadedModel::LoadedModel(const Model& model, const LoadOptions& options)
    : state_(std::make_unique<State>(model, options)) {}
LoadedModel::LoadedModel(LoadedModel&&) noexcept = default;
LoadedModel& LoadedModel::operator=(LoadedModel&&) noexcept = default;
LoadedModel::~LoadedModel() = default;

const Model& LoadedModel::model() const noexcept { return state_->model; }
std::size_t LoadedModel::vocabulary() const noexcept { return state_->decoder.config().vocab_size; }
std::size_t LoadedModel::context() const noexcept { return state_->decoder.config().context; }
std::uint64_t LoadedModel::resident_bytes() const noexcept { return state_->decoder.resident_bytes(); }

InstructionSet LoadedModel::instruction_set() const noexcept {
  switch (state_->decoder.isa()) {
    case Isa::scalar:
      break;
    case Isa::avx2:
      return InstructionSet::avx2;
    case Isa::avxvnni:
      return InstructionSet::avxvnni;
    case Isa::avx512:
      return InstructionSet::avx512;
    case Isa::neon:
      return InstructionSet::neon;
    case Isa::neon_dot:
      return InstructionSet::neon_dot;
    case Isa::neon_i8mm:
      return InstructionSet::neon_i8mm;
  }
  return InstructionSet::scalar;
}

KeyValueStorage LoadedModel::keys_values() const noexcept {
  switch (state_->decoder.kv_type()) {
    case KvType::f32:
      break;
    case KvType::f16:
      return KeyValueStorage::f16;
    case KvType::q8_0:
      return KeyValueStorage::q8_0;
    case KvType::q4_0:
      return KeyValueStorage::q4_0;
    case KvType::q8_0_rotated:
      return KeyValueStorage::q8_0_rotated;
    case KvType::q4_0_rotated:
      return KeyValueStorage::q4_0_rotated;
  }
  return KeyValueStorage::f32;
}

Sequence LoadedModel::new_sequence(std::size_t capacity) const {
  return Sequence(
      std::make_unique<Sequence::State>(Sequence::State{state_->identity, state_->decoder.new_cache(capacity)}));
}

void LoadedModel::step(std::span<const SequenceInput> inputs, std::span<float> logits,
                       const ProgressCallback& progress) {
  std::vector<SequenceStep> steps;
  std::size_t rows = 0;
  for (const SequenceInput& input : inputs) {
    if (input.sequence == nullptr || input.sequence->state().owner != state_->identity)
      throw Error(ErrorKind::invalid_argument, "a sequence is stepped by the model that made it only");
    if (input.first_logits > input.tokens.size())
      throw Error(ErrorKind::invalid_argument,
                  fmt::format("logits begin within the tokens that are given: first_logits {}, tokens {}",
                              input.first_logits, input.tokens.size()));
    rows += input.tokens.size() - input.first_logits;
    steps.push_back({&input.sequence->state().cache, input.tokens, input.first_logits});
  }
  require_logits(logits.size(), rows, vocabulary());
  const std::lock_guard lock(state_->busy);
  state_->decoder.step(steps, logits, progress);
}

std::vector<float> LoadedModel::next_logits(Sequence& sequence, std::span<const std::int32_t> tokens,
                                            const ProgressCallback& progress) {
  if (tokens.empty())
    throw Error(ErrorKind::unusable_input, "there are no tokens that something could follow; give one at least");
  std::vector<float> logits(vocabulary());
  const SequenceInput input{&sequence, tokens, tokens.size() - 1};
  step(std::span(&input, 1), logits, progress);
  return logits;
}

std::vector<float> LoadedModel::text_logits(std::span<const std::int32_t> tokens, std::size_t first,
                                            const ProgressCallback& progress) {
  if (first >= tokens.size())
    throw Error(ErrorKind::unusable_input, "there are no tokens that something could follow; give one at least");
  if (tokens.size() > context())
    throw Error(ErrorKind::unusable_input,
                fmt::format("the text has no room in the context; shorten it: tokens {}, context {}", tokens.size(),
                            context()));
  const std::size_t rows = tokens.size() - first;
  const std::uint64_t bytes = std::uint64_t{rows} * vocabulary() * sizeof(float), available = available_memory();
  if (bytes > available)
    throw Error(ErrorKind::resource,
                fmt::format("the logits take more memory than there is; ask for those of fewer tokens: {} bytes for {} "
                            "tokens, available {}",
                            bytes, rows, available));
  Sequence sequence = new_sequence(tokens.size());
  std::vector<float> logits(rows * vocabulary());
  const SequenceInput input{&sequence, tokens, first};
  step(std::span(&input, 1), logits, progress);
  return logits;
}

PlainText judge_text(std::string_view bytes, const std::string& name) {
  if (const std::string kind = foreign_text_kind(bytes); !kind.empty())
    throw Error(ErrorKind::unsupported, fmt::format("{}: looks like {}", name, kind));
  PlainText judged{std::string(bytes)};
  drop_byte_order_mark(judged.text);
  judged.replaced = count_invalid_utf8(judged.text);
  if (judged.replaced > 0) judged.text = replace_invalid_utf8(judged.text);
  return judged;
}

}  // namespace nibble
