// SPDX-License-Identifier: Apache-2.0
//
// A small net from a TensorFlow Lite model. Inputs and outputs keep the file's order of dimensions (channels last);
// within, channels stand second, as everywhere here. Codes of 8 bits are multiplied exactly; sums, as f32, are scaled
// and rounded to the nearest code.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "io/tflite/tflite_model.h"
#include "net/net.h"

namespace nibble {

// path: the file's, for messages. Error(corrupt): damage, by file and operator; Error(unsupported): operators or uses
// of them that are not known.
Net read_tflite_net(std::span<const std::byte> bytes, const std::filesystem::path& path, const NetOptions& options);
Net draw_tflite_net(const TfliteModel& model, const std::filesystem::path& path, const NetOptions& options);
std::vector<std::string> tflite_input_names(std::span<const std::byte> bytes, const std::filesystem::path& path);

}  // namespace nibble
