// SPDX-License-Identifier: Apache-2.0
#include "pipeline/train/fitting_batch.h"

#include <fmt/format.h>

#include "nibble/error.h"

namespace nibble {

std::optional<BatchSettings> fitting_batch(const BatchSettings& asked, std::uint64_t available,
                                           const BatchBytes& bytes) {
  constexpr std::uint64_t kShortestRow = 16;
  BatchSettings batch = asked;
  std::uint64_t fits = 0, too_many = asked.size + 1;
  while (fits + 1 < too_many) {
    batch.size = fits + (too_many - fits) / 2;
    (bytes(batch) <= available ? fits : too_many) = batch.size;
  }
  batch.size = fits;
  if (fits > 0) return batch;
  batch.size = 1;
  for (batch.length /= 2; batch.length >= kShortestRow; batch.length /= 2)
    if (bytes(batch) <= available) return batch;
  return std::nullopt;
}

std::string memory_text(std::uint64_t bytes) {
  const double size = static_cast<double>(bytes);
  return bytes < (std::uint64_t{1} << 30) ? fmt::format("{:.1f} MiB", size * 0x1p-20)
                                          : fmt::format("{:.1f} GiB", size * 0x1p-30);
}

void require_batch_memory(const BatchSettings& asked, std::uint64_t available, const BatchBytes& bytes,
                          const std::string& numbers) {
  if (bytes(asked) <= available) return;
  const std::optional<BatchSettings> smaller = fitting_batch(asked, available, bytes);
  if (!smaller)
    throw Error(ErrorKind::resource, "training takes more memory than there is, whatever the batches: " + numbers);
  const bool is_shorter = smaller->length != asked.length;
  throw Error(ErrorKind::resource,
              fmt::format("training takes more memory than there is; {} would fit: {}",
                          is_shorter ? fmt::format("a row of {} tokens at a time", smaller->length)
                                     : fmt::format("batches of {} rows", smaller->size),
                          numbers),
              is_shorter ? "length" : "batch");
}

}  // namespace nibble
