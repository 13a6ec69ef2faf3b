// SPDX-License-Identifier: Apache-2.0
//
// A decoder-only transformer ready to run: weights repacked for this processor, and the forward pass.
//
//   SourceModel checkpoint = SourceModel::open(path);
//   Decoder decoder(checkpoint, {}, machine);
//   KvCache cache = decoder.new_cache(512);
//   decoder.forward(cache, ids, LogitsFor::last, logits);
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "kernels/attention/attention.h"
#include "kernels/linear/linear.h"
#include "kernels/machine.h"
#include "model/source_model.h"
#include "nibble/progress.h"

namespace nibble {

// How keys and values are kept unless somebody says otherwise: q8_0 when any weight is quantized, f16 otherwise.
KvType default_kv_type(const Checkpoint& checkpoint);

struct DecoderOptions {
  KernelOptions kernels = {};
  std::optional<KvType> kv = {};   // none: default_kv_type
  ProgressCallback progress = {};  // stage "load"
};

// What a network's recurrent states hold of one sequence, by state.
using RecurrentNumbers = std::vector<std::vector<float>>;

// A point of a sequence to go back to. What a network remembers cannot always be cut short, so a point is saved when it
// is passed.
class SavedPoint {
 public:
  std::size_t length() const noexcept { return saved_->length; }
  // Not once its sequence was cleared or went back behind it, however long that has become since.
  bool is_there() const noexcept { return saved_->is_there; }

 private:
  friend class KvCache;
  struct Saved {
    std::size_t length;  // of keys and values; they stay where they are until others are put in their place
    RecurrentNumbers recurrent;
    bool is_there = true;
  };
  explicit SavedPoint(std::shared_ptr<Saved> saved) : saved_(std::move(saved)) {}
  std::shared_ptr<Saved> saved_;
};

// What is remembered of one sequence: keys and values, in pages that come as positions are filled, and the recurrent
// states of networks that have some, which know their end only. Move-only. length: how many positions are filled.
// Layers that see a window keep the pages that it may still see, from the end or from the oldest saved point, and use
// the older ones again.
class KvCache {
 public:
  std::size_t length() const noexcept { return length_; }
  std::size_t capacity() const noexcept { return capacity_; }
  void clear() noexcept;
  // Until the cache is cleared, what the point needs is kept: layers with a window grow beyond it as the sequence goes
  // on. The point has a copy of recurrent states.
  SavedPoint save();
  // point: saved by this cache, and there; may be gone back to more than once.
  void restore(const SavedPoint& point) noexcept;
  // To an earlier length without a point; where what that sees is gone, as behind a window or in a recurrent state, to
  // none. length() says.
  void go_back(std::size_t length) noexcept;
  // Only to saved points, and to the beginning.
  bool needs_points() const noexcept { return !recurrent_.empty(); }
  std::uint64_t resident_bytes() const noexcept;  // of the pages that are there, and of recurrent states

 private:
  friend class Decoder;
  struct Layer {
    KvLayer pages;
    std::size_t window;  // 0: none
  };
  void shorten(std::size_t length) noexcept;
  void give_up_unseen() noexcept;
  std::vector<Layer> layers_;
  RecurrentNumbers recurrent_;
  bool is_torn_ = false;  // recurrent states have been changed by tokens that are not counted
  std::size_t length_ = 0, capacity_ = 0;
  std::size_t oldest_saved_ = SIZE_MAX;  // position; SIZE_MAX: no point is saved
  std::vector<std::weak_ptr<SavedPoint::Saved>> points_;
};

// How many positions of a cache of `capacity` a layer keeps at most, no point being saved: with a window, whole pages
// of what a batch of tokens may see.
std::uint64_t kept_positions(const KeyValueState& state, std::uint64_t capacity) noexcept;

enum class LogitsFor { last, all };

// Tokens to append to one sequence. Logits are made for those from `first` on, which counts within tokens;
// tokens.size() makes none.
struct SequenceStep {
  KvCache* cache;
  std::span<const std::int32_t> tokens;
  std::size_t first = 0;
};

// The residual stream of tokens on their way through the layers: what enters the first layer (layers = 0), what has
// left `layers` of them.
struct StreamPoint {
  std::size_t layers = 0;
  std::size_t first_token = 0;  // of those that the call appends
  std::span<float> x;           // [tokens, hidden]; what is written here is what goes on
};
using StreamVisitor = std::function<void(const StreamPoint& point)>;

class Decoder {
 public:
  // Reads every weight once. The checkpoint may be destroyed afterwards. Errors: unsupported, corrupt, not_found (names
  // the tensor).
  Decoder(const SourceModel& checkpoint, const DecoderOptions& options, Machine& machine);
  Decoder(Decoder&&) noexcept;
  ~Decoder();

  const ModelConfig& config() const noexcept;
  KvType kv_type() const noexcept;                // of the caches that new_cache makes
  Isa isa() const noexcept;                       // whose kernels run
  std::uint64_t resident_bytes() const noexcept;  // weights
  Arithmetic arithmetic() const noexcept;         // of most of the layers' Linears, by parameters
  bool multiplies_in_f32() const noexcept;        // every product, the head's too: no input is rounded
  // capacity: how long the sequence may become, which some models' rotary positions depend on. Error(resource): more
  // than memory holds.
  KvCache new_cache(std::size_t capacity) const;
  // Of such a cache when it is full, no point being saved on the way. Errors as of new_cache, but for what memory there
  // is.
  std::uint64_t cache_bytes(std::size_t capacity) const;
  // Fills an empty cache with random keys and values, as if so many tokens had been read: for measurements of speed.
  void fill(KvCache& cache, std::size_t length) const;

  // One step of several sequences at once, each at a position of its own: weights are read once for all of them.
  // Sequences may come, go and differ in length from step to step; what each gets is the same bits as alone. logits:
  // [sum of tokens.size() - first, vocab_size], in the order of steps. Before anything is appended:
  // Error(unusable_input) when an id is outside the vocabulary, Error(invalid_argument) when a cache is too short (says
  // both lengths) or given twice. progress: stage "read", in tokens; a stop is Error(cancelled). After
  // an error sequences are as long as before, or empty where a window has left what they saw, or a recurrent state has
  // gone on.
  void step(std::span<const SequenceStep> steps, std::span<float> logits, const ProgressCallback& progress = {});

  // One sequence alone. Appends tokens to it and writes f32 logits: [vocab_size] for the last position or [tokens,
  // vocab_size] for all.
  void forward(KvCache& cache, std::span<const std::int32_t> tokens, LogitsFor which, std::span<float> logits);

  // The same, but the final hidden states (after the last norm) of the tokens from `first` on only are turned into
  // logits. visitor: sees every point of the residual stream from 0 to config().layers in order, of all tokens at once
  // or, where they are many, of one batch of them after another.
  void forward_from(KvCache& cache, std::span<const std::int32_t> tokens, std::size_t first, std::span<float> logits,
                    const StreamVisitor& visitor = {});

 private:
  void run(std::span<const SequenceStep> steps, std::span<float> logits, const StreamVisitor& visitor,
           const ProgressCallback& progress);
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace nibble
