// SPDX-License-Identifier: Apache-2.0
//
// Numbers that an ONNX model stores: in it, or in files beside it. Internal to net/onnx.
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "base/mapped_file.h"
#include "io/onnx/onnx_model.h"
#include "net/net_pen.h"

namespace nibble {

class OnnxConstants {
 public:
  // directory: the model's, in which files beside it lie.
  explicit OnnxConstants(std::filesystem::path directory) : directory_(std::move(directory)) {}

  // Error(corrupt): bytes that are missing or too many, a file elsewhere; Error(unsupported): elements of other types.
  NetConstant read(const OnnxInitializer& initializer, const std::string& where);
  // Of a node Constant.
  NetConstant read_node(const OnnxNode& node, const std::string& where);

 private:
  std::span<const std::byte> bytes_of(const OnnxInitializer& initializer, const std::string& where);

  std::filesystem::path directory_;
  std::map<std::string, MappedFile> files_;
};

}  // namespace nibble
