// SPDX-License-Identifier: Apache-2.0
//
// A small net on arrays of a file: compiled, or by the reference arithmetic. One thread at a time.
//
//   const NetRun run = run_net("mnist.onnx", {}, {"digit.npy"}, NetArithmetic::compiled, machine);
//   write_arrays("logits.npy", run.outputs);
#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "io/npy/npy_file.h"
#include "kernels/machine.h"
#include "net/net.h"

namespace nibble {

enum class NetArithmetic { compiled, reference };

using NamedArrays = std::vector<std::pair<std::string, NpyArray>>;

struct NetRun {
  NamedArrays outputs;
  NetArithmetic arithmetic = NetArithmetic::compiled;
  double read_seconds = 0, run_seconds = 0;  // read: compiling, too
};

// files: "x.npy", which is the net's one input or the one called so that is left over; "NAME=x.npy"; "x.npz", inputs by
// their names. Shapes of arrays are shapes of inputs. Error(unusable_input): inputs that are missing, left over or of
// another shape.
NetRun run_net(const std::filesystem::path& net, NetOptions options, const std::vector<std::string>& files,
               NetArithmetic arithmetic, Machine& machine);

// Before there is anything to be written. Error(invalid_argument): another ending than those two; Error(io): a file
// that stands there and holds no arrays.
void require_array_place(const std::filesystem::path& path);
// An .npz of all, or an .npy of one. Error(invalid_argument): several in an .npy.
void write_arrays(const std::filesystem::path& path, const NamedArrays& arrays);

}  // namespace nibble
