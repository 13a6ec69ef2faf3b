// SPDX-License-Identifier: Apache-2.0
#include "pipeline/quantize/source_survey.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <unordered_set>
#include <vector>

namespace nibble {
namespace {

// Read twice where a peak is searched for, too: few enough to be in the cache the second time.
constexpr std::size_t kPieceBytes = std::size_t{256} << 10;
constexpr std::size_t kHeldBytes = std::size_t{16} << 20;

struct FreeState {
  void operator()(XXH3_state_t* state) const { XXH3_freeState(state); }
};

struct Surveyed {
  const StoredTensor* tensor = nullptr;
  bool wants_peak = false, wants_hash = false;
  std::uint64_t hash = 0;
  WeightPeak peak{};
};

void read_bytes(const Checkpoint& checkpoint, const StoredTensor& tensor, XXH3_state_t* hash, PeakSearch* search) {
  std::size_t held = 0;
  for (const auto stored : tensor.values.stored_bytes())
    for (std::size_t begin = 0; begin < stored.size(); begin += kPieceBytes) {
      const auto piece = stored.subspan(begin, std::min(kPieceBytes, stored.size() - begin));
      if (hash != nullptr) XXH3_64bits_update(hash, piece.data(), piece.size());
      if (search != nullptr) search->add(piece);
      if ((held += piece.size()) < kHeldBytes) continue;
      checkpoint.release(tensor);
      held = 0;
    }
  checkpoint.release(tensor);
}

void survey_tensor(const Checkpoint& checkpoint, bool wants_hash, Surveyed& item) {
  const StoredTensor& tensor = *item.tensor;
  std::unique_ptr<XXH3_state_t, FreeState> state;
  if (wants_hash) {
    state.reset(XXH3_createState());
    if (!state) throw std::bad_alloc();
    XXH3_64bits_reset(state.get());
  }
  std::optional<PeakSearch> search;
  const QuantizedView* const planes = tensor.values.planes();
  if (item.wants_peak && planes != nullptr && planes->format->info().kind == FormatKind::raw)
    search.emplace(planes->specs.front().dtype, planes->cols);
  if (wants_hash || search) read_bytes(checkpoint, tensor, state.get(), search ? &*search : nullptr);
  if (wants_hash) item.hash = XXH3_64bits_digest(state.get());
  if (!item.wants_peak) return;
  item.peak = search ? search->peak() : peak_of(tensor.values);
  checkpoint.release(tensor);
}

}  // namespace

SourceSurvey survey_source(const Checkpoint& checkpoint, const SurveyRequest& request, ThreadPool& pool) {
  std::vector<Surveyed> items;
  std::unordered_set<const StoredTensor*> wanted(request.peaks.begin(), request.peaks.end());
  for (const StoredTensor& tensor : checkpoint.tensors()) {
    const bool wants_peak = wanted.erase(&tensor) != 0;
    if (request.hash || wants_peak) items.push_back({&tensor, wants_peak, request.hash});
  }
  for (const StoredTensor* const expert : wanted)
    items.push_back({expert, true, false});  // rows of a stack, which is hashed as a whole
  std::ranges::sort(items, {}, [](const Surveyed& item) -> const std::string& { return item.tensor->name; });
  pool.parallel_for(items.size(), 1, [&](std::size_t begin, std::size_t end, std::size_t) {
    for (std::size_t i = begin; i < end; ++i) survey_tensor(checkpoint, items[i].wants_hash, items[i]);
  });
  SourceSurvey survey;
  std::string text;
  for (const Surveyed& item : items) {
    if (item.wants_hash) text += fmt::format("{} {:016x}\n", item.tensor->name, item.hash);
    if (item.wants_peak) survey.peaks.emplace(item.tensor, item.peak);
  }
  if (request.hash) survey.hash = fmt::format("{:016x}", XXH3_64bits(text.data(), text.size()));
  return survey;
}

}  // namespace nibble
