// SPDX-License-Identifier: Apache-2.0
//
// A directory with model.onnx, its constants in model.onnx.data beside it, and small files. A model that nibble wrote
// lists in its metadata which of its constants are the tensors of a checkpoint, and which rows of them; how these are
// coded the operators that read them say. So such a directory is read as a Hugging Face directory is, by the same
// names.
//
//   auto writer = make_onnx_writer(path, {model, places}, side_files, plan);
//   CheckpointParts parts = ...; read_onnx_tensors(parts);
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "io/checkpoint_parts.h"
#include "io/checkpoint_writer.h"
#include "io/onnx/onnx_model.h"

namespace nibble {

inline constexpr std::string_view kOnnxFile = "model.onnx", kOnnxDataFile = "model.onnx.data";

// Where the rows of a planned tensor go. Plain numbers keep their type and order; of codes a MatMulNBits
// or a QMoE (packing/matmul_nbits.h) or a DequantizeLinear (packing/dequantize_linear.h) reads the initializers.
struct OnnxPlace {
  enum class Layout { plain, nbits, dequantize };
  Layout layout = Layout::plain;
  std::string values, scales, zero_points;  // initializers, the last two of codes; empty: none
  std::uint64_t first = 0;                  // the initializer's row that is the tensor's first; of vectors the number
  std::uint64_t step = 1;                   // rows from one of the tensor's to the next: others' lie between
};

struct OnnxPackage {
  OnnxModel model;                // initializers without bytes are filled by tensors
  std::vector<OnnxPlace> places;  // by planned tensor
};

// Tensors may come in any order; the codes of one that a DequantizeLinear reads are kept until it is whole. Error
// (internal): places that do not fit the plan.
std::unique_ptr<CheckpointWriter> make_onnx_writer(const std::filesystem::path& path, OnnxPackage package,
                                                   const std::vector<SideFile>& side_files,
                                                   const std::vector<PlannedTensor>& plan);

// Whether a directory's weights lie in model.onnx: no safetensors stand beside it.
bool is_onnx_package(const std::filesystem::path& directory);
// Adds the files and tensors of the model.onnx in parts.path. Error(corrupt): damage, named by initializer;
// Error(unsupported): a model that nibble did not write.
void read_onnx_tensors(CheckpointParts& parts);

}  // namespace nibble
