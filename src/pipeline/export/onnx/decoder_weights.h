// SPDX-License-Identifier: Apache-2.0
//
// The weights of a decoder as constants of its ONNX graph: which initializer holds which tensor of the output, and what
// an operator reads in place of a part. One thread at a time. Internal to pipeline/export/onnx.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "io/onnx/onnx_package.h"
#include "model/arch/architecture.h"
#include "pipeline/export/onnx/graph_pen.h"
#include "pipeline/quantize/quantize_plan.h"

namespace nibble {

// A part of a layer; one that no layer has is the model's.
struct PartOf {
  std::string part;
  std::int64_t layer = -1;
};

// Codes as an operator reads them: of several matrices one below the other.
struct CodedMatrix {
  std::string values, scales, zero_points;  // zero_points: empty where there are none
  std::uint64_t rows = 0, cols = 0;
  FormatPtr format;
};

class DecoderWeights {
 public:
  DecoderWeights(const ModelTensors& parts, const std::vector<PlannedTensor>& planned, OnnxPlace::Layout codes,
                 GraphPen& pen);

  const PlannedTensor& planned(const PartOf& part) const;
  bool is_coded(const PartOf& part) const;
  // Whether one operator can read the codes of all of them.
  bool are_alike(std::span<const PartOf> parts) const;

  // The numbers of a part in the network's type, in their own shape: what the network means by what its file holds.
  std::string numbers(const PartOf& part);
  // The same before they become the network's type: what a lookup reads. Error(internal): codes.
  std::string stored_numbers(const PartOf& part);
  // Of vectors, one behind the other.
  std::string joined_numbers(std::span<const PartOf> parts);
  // A matrix turned.
  std::string columns(const PartOf& part);
  CodedMatrix coded(std::span<const PartOf> parts);
  // Matrices of experts: [experts, rows, cols], of each expert the rows of several in turn. experts: of each its
  // matrices, all in one format. rows: of one expert, of all its matrices.
  CodedMatrix coded_experts(std::span<const std::vector<PartOf>> experts);

  // By planned tensor. Error(internal) names one that no operator reads.
  std::vector<OnnxPlace> places() const;

 private:
  const ModelTensor& tensor(const PartOf& part) const;
  std::size_t index_of(const PartOf& part) const;
  // Names of what codes in MatMulNBits' layout are declared as; dims: of rows.
  CodedMatrix declare_rows(const std::string& name, const PlannedTensor& first, std::vector<std::uint64_t> dims);
  CodedMatrix declare_nbits(std::span<const PartOf> parts, const std::string& name);
  CodedMatrix declare_dequantize(const PartOf& part, const std::string& name);

  const ModelTensors& parts_;
  const std::vector<PlannedTensor>& planned_;
  OnnxPlace::Layout codes_;
  GraphPen& pen_;
  std::unordered_map<std::string, std::size_t> by_name_;
  std::vector<std::optional<OnnxPlace>> places_;        // by planned tensor
  std::unordered_map<std::size_t, CodedMatrix> coded_;  // by the first planned tensor
  std::unordered_map<std::string, std::string> made_;   // values made of constants, by what they are
};

}  // namespace nibble
