// SPDX-License-Identifier: Apache-2.0
//
// What of a model fits into a given memory: for each format the bytes of the weights, with the key/value cache of a
// given context, and how fast a memory of given bandwidth lets it decode. Exact for a model and for a named shape; a
// bare size ("70B") borrows the shape of the nearest known model and scales its matrices.
//
//   nibble::MemoryPlan made = nibble::plan({.model = "70B", .memory = 24'000'000'000, .bandwidth = 60e9});
//   if (made.best) std::cout << made.formats[*made.best].format << '\n';
//
// Functions may be called from many threads at once. Results are plain data.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace nibble {

// What the cache may hold its numbers in, with the bits of one, scales counted.
struct CacheType {
  std::string_view name;
  double bits;
};
inline constexpr std::array kCacheTypes = {CacheType{"f16", 16}, CacheType{"q8_0", 8.5}, CacheType{"q4_0", 4.5}};

struct MemoryPlanRequest {
  std::string model{};       // a path, a shape of synth, or a size such as "70B"
  std::uint64_t memory = 0;  // bytes; for weights, cache, activations and headroom together
  std::optional<std::uint64_t> headroom =
      {};                     // bytes left to everything else; none: a twentieth of the memory, at least 256 MB
  std::uint64_t context = 0;  // tokens; 0: 8192, or the model's own context where that is shorter
  double bandwidth = 0;       // bytes per second; 0: not known
  std::vector<std::string> formats{};  // empty: the usual ones, from most to fewest bits
};

struct PlannedWeights {
  std::string format;
  double bits_per_weight = 0;                   // of the whole model
  std::uint64_t bytes = 0;                      // of all tensors, as they are held to be run
  std::uint64_t bytes_per_token = 0;            // read to decode one token; an embedding that is only looked up is not
  std::array<bool, kCacheTypes.size()> fits{};  // with the cache in each type
  std::array<std::uint64_t, kCacheTypes.size()>
      longest{};  // tokens that would fit, at most those that the model was trained for
  double fastest = 0,
         fastest_full = 0;      // tokens per second that bandwidth allows: cache empty; full, as usual. 0: not known
  std::size_t usual_cache = 0;  // the type that running such weights takes unless told otherwise
  std::uint64_t substitutions = 0;  // tensors whose rows the format cannot hold
  std::uint64_t tensors = 0;
};

struct MemoryPlan {
  std::string model;  // as it was asked for
  std::string shape;  // whose layers and heads were taken
  double scaled = 1;  // of the shape's matrices; 1: exact
  std::uint64_t parameters = 0, layers = 0, kv_heads = 0, head_dim = 0;
  std::uint64_t model_context = 0;  // what the shape was trained for
  std::uint64_t context = 0;
  std::uint64_t memory = 0, headroom = 0;
  std::uint64_t activations = 0;                                // estimated: a prompt read 512 tokens at a time
  std::array<std::uint64_t, kCacheTypes.size()> cache_bytes{};  // at `context`; with windows, of what they keep
  std::uint64_t recurrent_bytes = 0;                            // of these, whatever the context: recurrent states
  std::uint64_t saved_bytes = 0;  // beside the cache: the copies of recurrent states that a chat goes back to
  std::array<std::uint64_t, kCacheTypes.size()> cache_bytes_per_token{};  // while no window is full
  double bandwidth = 0;
  std::vector<PlannedWeights> formats;
  std::optional<std::size_t> best;  // the format with the most bits that fits, and ...
  std::size_t best_cache = 0;       // ... the cache that it fits with: the usual one, or else a smaller
  bool usual_headroom = true;       // nobody asked for another
  std::vector<std::string> notes;   // sentences: of a checkpoint, what keeps it from being used

  std::uint64_t usable() const {
    std::uint64_t left = memory;
    for (const std::uint64_t taken : {headroom, activations, saved_bytes}) left -= left < taken ? left : taken;
    return left;
  }
};

// Reads a checkpoint's headers only. Error(invalid_argument): neither a path nor a shape nor a size (lists the shapes),
// no memory, a context of more than 2^24, a bandwidth
// that is no finite number from 0. Errors of opening a model.
MemoryPlan plan(const MemoryPlanRequest& request);

}  // namespace nibble
