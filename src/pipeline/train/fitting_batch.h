// SPDX-License-Identifier: Apache-2.0
//
// Whether a run of training has the memory that it takes, and which smaller batch would. Judged before any of it is
// taken. Internal to pipeline/.
//
//   require_batch_memory(settings.batch, available_memory(), bytes_of, "2.1 GiB for ...");
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "train/text_batches.h"

namespace nibble {

// What a run takes with batches of another size, in bytes; never less with larger ones.
using BatchBytes = std::function<std::uint64_t(const BatchSettings& batch)>;

// The most rows of the same length that fit, else the longest single row of half that length, a quarter, and so on;
// none below 16 tokens.
std::optional<BatchSettings> fitting_batch(const BatchSettings& asked, std::uint64_t available,
                                           const BatchBytes& bytes);

// "3.1 MiB", "1.2 GiB": as messages about memory have it.
std::string memory_text(std::uint64_t bytes);

// Error(resource) where the batch that is asked for takes more than is available; says which would fit. numbers: what
// takes how much.
void require_batch_memory(const BatchSettings& asked, std::uint64_t available, const BatchBytes& bytes,
                          const std::string& numbers);

}  // namespace nibble
