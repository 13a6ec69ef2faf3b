// SPDX-License-Identifier: Apache-2.0
//
// A small net from an ONNX model: every operator by the version of it that the model's opset means, shapes that it
// computes worked out, branches taken whose conditions are known.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>

#include "net/net_pen.h"

namespace nibble {

// The standard operators of these versions are known.
inline constexpr std::int64_t kOldestOpset = 7, kNewestOpset = 28;

// path: the file's, for messages and for constants that lie beside it. Error(corrupt): damage, by file and node; Error
// (unsupported): an operator or a use of one that is not known, all such operators at once; Error(unusable_input):
// inputs whose extents are open.
std::vector<std::string> onnx_input_names(std::span<const std::byte> bytes, const std::filesystem::path& path);
// A tensor in a file of its own, as ONNX's test data has them: its shape and numbers.
NetConstant read_onnx_tensor(std::span<const std::byte> bytes, const std::filesystem::path& path);
Net read_onnx_net(std::span<const std::byte> bytes, const std::filesystem::path& path, const NetOptions& options);

}  // namespace nibble
