// SPDX-License-Identifier: Apache-2.0
//
// The graph in operators of ONNX's standard domain alone. Matrices of codes are turned, with scales along the first
// axis, which ONNX Runtime takes together with the product behind them.
#include <cstdint>

#include "io/packing/dequantize_linear.h"
#include "nibble/error.h"
#include "pipeline/export/onnx/decoder_drawing.h"

namespace nibble {
namespace {

constexpr float kUnseen = -1e30F;  // added to the scores of what a token does not attend to

class StandardDrawing final : public DecoderDrawing {
 public:
  explicit StandardDrawing(const DrawingSource& source)
      : DecoderDrawing(source, OnnxPlace::Layout::dequantize, OnnxType::f32) {
    pen_.model().opset = 21;
  }

 protected:
  bool draw_fused(std::size_t) override { return false; }

  std::string product(const std::string& x, const CodedMatrix& matrix) override {
    const DequantizeLayout layout = dequantize_layout(*matrix.format, matrix.rows, matrix.cols);
    std::vector<std::string> inputs = {matrix.values, matrix.scales};
    if (!matrix.zero_points.empty()) inputs.push_back(matrix.zero_points);
    std::vector<OnnxAttribute> attributes = {{"axis", std::int64_t{layout.block == 0 ? 1 : 0}}};
    if (layout.block != 0) attributes.push_back({"block_size", static_cast<std::int64_t>(layout.block)});
    return pen_.add("MatMul", {x, pen_.add("DequantizeLinear", std::move(inputs), std::move(attributes))});
  }

  std::string lookup(const std::string&, const CodedMatrix&) override {
    throw Error(
        ErrorKind::unsupported,
        "no standard operator looks up rows of codes that lie turned; leave the embedding in floating point, or "
        "write onnx-genai",
        "embedding");
  }

  std::string surrounding(OnnxSurrounding which, const FlatNode& node) override {
    switch (which) {
      case OnnxSurrounding::token_ids:
        return "input_ids";
      case OnnxSurrounding::positions:
        return pen_.add("Unsqueeze", {pen_.cast(positions(), pen_.type()), pen_.integers({2})});
      case OnnxSurrounding::cosines:
      case OnnxSurrounding::sines: {
        const std::string all = table(std::get<Rope>(node.node->operation), which == OnnxSurrounding::sines);
        return turned_by(all);
      }
      case OnnxSurrounding::mask:
        return mask(std::get<Attention>(node.node->operation).window);
      case OnnxSurrounding::past_keys:
        return past(node, "key");
      case OnnxSurrounding::past_values:
        return past(node, "value");
    }
    return {};
  }

 private:
  // The new tokens' rows of a table of positions.
  const std::string& turned_by(const std::string& table) {
    std::string& made = turned_[table];
    if (made.empty()) {
      const std::string& where = positions();
      const std::string rows = pen_.add("Gather", {table, where}, {{"axis", std::int64_t{0}}});
      made = pen_.add("Unsqueeze", {rows, pen_.integers({2})});
    }
    return made;
  }

  const std::string& num_tokens() {
    if (num_tokens_.empty()) num_tokens_ = pen_.add("Shape", {"input_ids"}, {{"start", std::int64_t{1}}});
    return num_tokens_;
  }

  // Of the new tokens, those that only fill up not counted: [batch, tokens].
  const std::string& positions() {
    if (positions_.empty()) {
      pen_.enter("/model/positions");
      const std::string counted = pen_.add("CumSum", {"attention_mask", pen_.integer(1)});
      const std::string places = pen_.add("Max", {pen_.add("Sub", {counted, pen_.integer(1)}), pen_.integer(0)});
      positions_ =
          pen_.add("Slice", {places, pen_.add("Neg", {num_tokens()}), pen_.integers({INT64_MAX}), pen_.integers({1})});
    }
    return positions_;
  }

  // [batch, 1, tokens, all tokens]: 0 for what a token attends to. window: 0: all that came before.
  const std::string& mask(std::uint64_t window) {
    std::string& made = masks_[window];
    if (made.empty()) {
      pen_.enter("/model/mask");
      const std::string all =
          pen_.add("Squeeze", {pen_.add("Shape", {"attention_mask"}, {{"start", std::int64_t{1}}})});
      const std::string own = pen_.add("Squeeze", {num_tokens()});
      const std::string keys = pen_.add("Range", {pen_.integer(0), all, pen_.integer(1)});
      const std::string queries = pen_.add(
          "Unsqueeze", {pen_.add("Range", {pen_.add("Sub", {all, own}), all, pen_.integer(1)}), pen_.integers({1})});
      std::string seen = pen_.add("LessOrEqual", {keys, queries});
      if (window != 0) {
        const std::string from = pen_.add("Sub", {queries, pen_.integer(static_cast<std::int64_t>(window))});
        seen = pen_.add("And", {seen, pen_.add("Greater", {keys, from})});
      }
      const std::string there =
          pen_.add("Unsqueeze", {pen_.add("Greater", {"attention_mask", pen_.integer(0)}), pen_.integers({1, 2})});
      made = pen_.add("Where", {pen_.add("And", {seen, there}), pen_.number(0), pen_.number(kUnseen)});
    }
    return made;
  }

  std::map<std::string, std::string> turned_;   // by table
  std::map<std::uint64_t, std::string> masks_;  // by window
  std::string positions_, num_tokens_;
};

}  // namespace

std::unique_ptr<DecoderDrawing> make_standard_drawing(const DrawingSource& source) {
  return std::make_unique<StandardDrawing>(source);
}

}  // namespace nibble
