// SPDX-License-Identifier: Apache-2.0
//
// What work is done with: an instruction set, threads, and memory that kernels use while they run. Made once by whoever
// decides those, and passed on by reference to everything that computes; what only cuts work into pieces takes the pool
// alone. Another processor, or a device, would be another machine. One caller at a time, as its pool: a kernel has the
// scratch to itself until it returns, and leaves nothing in it for the next.
//
//   Machine machine(choose_isa(detect_cpu(), ""), 2);
//   gemm(a, b, m, n, k, c, machine);
#pragma once

#include <cstddef>
#include <memory>

#include "base/cpu.h"
#include "base/thread_pool.h"

namespace nibble {

// Memory that is kept between calls and grows as needed.
class KernelScratch {
 public:
  std::byte* reserve(std::size_t bytes);  // 64-byte aligned, contents undefined; what was reserved before is lost
 private:
  struct Free {
    void operator()(std::byte* p) const noexcept;
  };
  std::unique_ptr<std::byte[], Free> data_;
  std::size_t size_ = 0;
};

struct Machine {
  // The processor must have the set. num_threads: as the pool's.
  explicit Machine(Isa instruction_set, std::size_t num_threads = 0) : isa(instruction_set), pool(num_threads) {}

  Isa isa;  // whose kernels run: the same bits with any, but for bf16 products
  ThreadPool pool;
  KernelScratch scratch;
};

}  // namespace nibble
