// SPDX-License-Identifier: Apache-2.0
//
// What a compiled net does one after the other. A step owns what it reads besides values (packed weights, tables); it
// allocates nothing while it runs, but for those that are left to the reference arithmetic.
#pragma once

#include <cstddef>
#include <memory>
#include <string_view>
#include <vector>

#include "kernels/convolution/convolution.h"
#include "kernels/machine.h"
#include "net/engine/view.h"

namespace nibble::net_engine {

// What steps work with.
struct Run {
  std::byte* const* buffers;  // by id
  Machine& machine;
  const ConvolutionLoops& loops;

  float* floats(const View& view) const { return reinterpret_cast<float*>(buffers[view.buffer]) + view.offset; }
  std::uint8_t* codes(const View& view) const {
    return reinterpret_cast<std::uint8_t*>(buffers[view.buffer]) + view.offset;
  }
};

class Step {
 public:
  Step() = default;
  Step(const Step&) = delete;
  Step& operator=(const Step&) = delete;
  virtual ~Step() = default;
  virtual void run(const Run& run) const = 0;
  virtual std::string_view name() const = 0;  // of its kind
};

using StepPointer = std::unique_ptr<Step>;

}  // namespace nibble::net_engine
