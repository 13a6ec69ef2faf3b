// SPDX-License-Identifier: Apache-2.0
//
// A net in another container: the same function, in f32 or in the codes that it has.
//
//   convert_net_file("net.onnx", {}, arrange_net_outputs({}, "net.tflite"), machine);
#pragma once

#include <filesystem>
#include <span>
#include <vector>

#include "kernels/machine.h"
#include "net/net.h"
#include "pipeline/net/net_output.h"

namespace nibble {

// Norms and scales are folded into the layers before them. What is written is read again and, on random inputs, has to
// make the same, but for what f32 and the last code round. Errors as of open_net and require_writable.
std::vector<WrittenNet> convert_net_file(const std::filesystem::path& path, NetOptions options,
                                         std::span<const NetOutput> outputs, Machine& machine);

}  // namespace nibble
