// SPDX-License-Identifier: Apache-2.0
#include "pipeline/source_hash.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

namespace nibble {
namespace {

constexpr std::size_t kPieceBytes = std::size_t{16} << 20;

struct FreeState {
  void operator()(XXH3_state_t* state) const { XXH3_freeState(state); }
};

std::uint64_t hash_tensor(const Checkpoint& checkpoint, const StoredTensor& tensor) {
  const std::unique_ptr<XXH3_state_t, FreeState> state(XXH3_createState());
  if (!state) throw std::bad_alloc();
  XXH3_64bits_reset(state.get());
  for (const auto plane : tensor.view.planes)
    for (std::size_t begin = 0; begin < plane.size(); begin += kPieceBytes) {
      const auto piece = plane.subspan(begin, std::min(kPieceBytes, plane.size() - begin));
      XXH3_64bits_update(state.get(), piece.data(), piece.size());
      checkpoint.release(tensor);
    }
  return XXH3_64bits_digest(state.get());
}

}  // namespace

std::string hash_tensors(const Checkpoint& checkpoint, ThreadPool& pool) {
  std::vector<const StoredTensor*> tensors;
  for (const StoredTensor& tensor : checkpoint.tensors()) tensors.push_back(&tensor);
  std::ranges::sort(tensors, {}, [](const StoredTensor* tensor) -> const std::string& { return tensor->name; });
  std::vector<std::uint64_t> hashes(tensors.size());
  pool.parallel_for(tensors.size(), 1, [&](std::size_t begin, std::size_t end, std::size_t) {
    for (std::size_t i = begin; i < end; ++i) hashes[i] = hash_tensor(checkpoint, *tensors[i]);
  });
  std::string text;
  for (std::size_t i = 0; i < tensors.size(); ++i) text += fmt::format("{} {:016x}\n", tensors[i]->name, hashes[i]);
  return fmt::format("{:016x}", XXH3_64bits(text.data(), text.size()));
}

}  // namespace nibble
