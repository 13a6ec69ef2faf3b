// SPDX-License-Identifier: Apache-2.0
//
// What a manifest says of its inputs.
#pragma once

#include <string>

#include "base/thread_pool.h"
#include "io/checkpoint.h"
#include "nibble/progress.h"

namespace nibble {

// XXH3-64 over the sorted names of a checkpoint's tensors, each followed by the XXH3-64 of its bytes as they lie in the file; 16
// hexadecimal digits. The same for any number of threads.
std::string hash_tensors(const Checkpoint& checkpoint, ThreadPool& pool);

}  // namespace nibble
