// SPDX-License-Identifier: Apache-2.0
//
// A small net compiled for this processor: weights packed once, what follows a product fused with it, values in one
// block of memory that they share. A run allocates nothing, but for operations that are left to the reference
// arithmetic. The same bits on any instruction set and number of threads; sums of f32 are chains of fused
// multiply-adds, so results differ from the reference arithmetic (net.h) by what f32 rounds.
//
//   NetProgram program(open_net("mnist.onnx", {}), machine);
//   std::ranges::copy(image, program.input(0).begin());
//   program.run();
//   use(program.output(0));
//
// One thread at a time.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "kernels/machine.h"
#include "net/net.h"

namespace nibble {

class NetProgram {
 public:
  // machine: outlives the program.
  NetProgram(Net net, Machine& machine);
  ~NetProgram();
  NetProgram(NetProgram&&) noexcept;
  NetProgram& operator=(NetProgram&&) noexcept;

  // The numbers of an input, in the order of Net::inputs. They stay as they are from run to run.
  std::span<float> input(std::size_t index);
  void run();
  // Of the last run.
  std::span<const float> output(std::size_t index) const;

  std::size_t value_bytes() const;  // that values take
  // How many steps of each kind a run takes, by name.
  std::vector<std::pair<std::string_view, std::size_t>> steps() const;

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace nibble
