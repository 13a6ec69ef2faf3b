// SPDX-License-Identifier: Apache-2.0
//
// A decoder-only transformer ready to run: weights repacked for this processor, and the forward pass.
//
//   Checkpoint checkpoint = Checkpoint::open(path);
//   Decoder decoder(checkpoint, {}, pool);
//   KvCache cache = decoder.new_cache(512);
//   decoder.forward(cache, ids, LogitsFor::last, logits);
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/thread_pool.h"
#include "kernels/attention.h"
#include "kernels/linear.h"
#include "model/config.h"
#include "nibble/progress.h"

namespace nibble {

struct DecoderOptions {
  KernelOptions kernels = {};
  KvType kv = KvType::f16;
  ProgressCallback progress = {};  // stage "load"
};

// Keys and values of one sequence. Move-only. length: how many positions are filled.
class KvCache {
 public:
  std::size_t length() const noexcept { return length_; }
  std::size_t capacity() const noexcept { return capacity_; }
  void truncate(std::size_t length) noexcept { length_ = length < length_ ? length : length_; }  // 0 starts afresh
  std::uint64_t resident_bytes() const noexcept;

 private:
  friend class Decoder;
  std::vector<KvLayer> layers_;
  std::size_t length_ = 0, capacity_ = 0;
};

enum class LogitsFor { last, all };

class Decoder {
 public:
  // Reads every weight once. The checkpoint may be destroyed afterwards. Errors: unsupported, corrupt, not_found (names the tensor).
  Decoder(const Checkpoint& checkpoint, const DecoderOptions& options, ThreadPool& pool);
  Decoder(Decoder&&) noexcept;
  ~Decoder();

  const ModelConfig& config() const noexcept;
  std::uint64_t resident_bytes() const noexcept;             // weights
  std::uint64_t linear_parameters() const noexcept;          // of all layers' Linears, head not counted
  // Error(unsupported) when the model has a sliding window shorter than capacity.
  KvCache new_cache(std::size_t capacity) const;

  // Appends tokens to the sequence and writes f32 logits: [vocab_size] for the last position or [tokens, vocab_size] for all.
  // Error(invalid_argument) when an id is outside the vocabulary or the cache is too short (says both lengths).
  void forward(KvCache& cache, std::span<const std::int32_t> tokens, LogitsFor which, std::span<float> logits);

  // The same, but the final hidden states (after the last norm) of a range of the tokens only are turned into logits; `first` counts
  // within tokens and may equal tokens.size(): then nothing is written. logits: [tokens.size() - first, vocab_size].
  void forward_from(KvCache& cache, std::span<const std::int32_t> tokens, std::size_t first, std::span<float> logits);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace nibble
