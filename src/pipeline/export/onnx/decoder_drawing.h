// SPDX-License-Identifier: Apache-2.0
//
// A decoder as an ONNX graph: every operation of its drawing by its own spelling (graph/onnx_spelling.h), what a
// runtime has an operator of its own for by that. Inputs: input_ids [batch, tokens] and attention_mask [batch, all
// tokens], of INT64, and past_key_values.N.key and .value [batch, kv_heads, earlier tokens, head_dim]; outputs: logits
// [batch, tokens, vocabulary] and present.N.key and .value. One thread at a time. Internal to pipeline/export.
//
//   OnnxPackage package = make_genai_drawing(source)->draw();
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "io/onnx/onnx_package.h"
#include "model/arch/architecture.h"
#include "pipeline/export/onnx/decoder_weights.h"
#include "pipeline/export/onnx/flat_network.h"
#include "pipeline/export/onnx/graph_pen.h"
#include "pipeline/export/onnx_options.h"

namespace nibble {

// What is drawn. Borrowed.
struct DrawingSource {
  const ModelTensors& parts;
  const ModelConfig& config;
  const std::vector<PlannedTensor>& planned;
  OnnxOptions options;
  bool has_tables = true;  // false: the graph is only tried, tables of positions are left short
};

class DecoderDrawing {
 public:
  virtual ~DecoderDrawing() = default;
  // Error(unsupported) names the operation that cannot be said.
  OnnxPackage draw();

 protected:
  DecoderDrawing(const DrawingSource& source, OnnxPlace::Layout codes, OnnxType type);

  // Whether a node will be drawn so, whatever its own spelling.
  virtual bool is_fused(std::size_t) const { return false; }
  // Draws a node, and perhaps others, by operators of its own: true. Values and whether a node is drawn are set there.
  virtual bool draw_fused(std::size_t node) = 0;
  // x times a matrix of codes, turned; rows of a matrix of codes.
  virtual std::string product(const std::string& x, const CodedMatrix& matrix) = 0;
  virtual std::string lookup(const std::string& ids, const CodedMatrix& matrix) = 0;
  virtual std::string surrounding(OnnxSurrounding which, const FlatNode& node) = 0;

  void enter(const FlatNode& node);
  const std::string& value(std::size_t number) const { return values_[number]; }
  void make(std::size_t number, std::string name) { values_[number] = std::move(name); }
  bool is_drawn(std::size_t node) const { return drawn_[node]; }
  void set_drawn(std::size_t node) { drawn_[node] = true; }
  PartOf part(const FlatNode& node, std::string name) const { return {std::move(name), node.layer}; }
  // The number by which a sequence's keys and values of this attention go. Adds them to the model's inputs.
  std::string past(const FlatNode& attention, std::string_view which);
  std::string present(const FlatNode& attention, std::string_view which);
  // Cosines, or sines, of every position: [context, pairs].
  std::string table(const Rope& rope, bool is_sine);

  DrawingSource source_;
  FlatNetwork flat_;
  GraphPen pen_;
  DecoderWeights weights_;

 private:
  void refuse_unsayable() const;
  void spell(const FlatNode& node);
  std::string operand(const OnnxOperand& operand, const FlatNode& node, const std::vector<std::string>& steps);
  std::string step(const OnnxStep& step, const FlatNode& node, const std::vector<std::string>& steps);
  void add_interface();

  std::map<std::string, std::string> tables_;  // of positions, by name
  std::vector<std::string> values_;            // by FlatNetwork's
  std::vector<bool> drawn_;                    // by node
};

// Positions that a model is exported for: fewer than its context where longer sequences turn by other frequencies.
std::uint64_t exported_context(const ModelConfig& config);

// For ONNX Runtime GenAI: its operators (com.microsoft), matrices of codes by MatMulNBits.
std::unique_ptr<DecoderDrawing> make_genai_drawing(const DrawingSource& source);
// Operators of the standard domain alone, matrices of codes by DequantizeLinear.
std::unique_ptr<DecoderDrawing> make_standard_drawing(const DrawingSource& source);

}  // namespace nibble
