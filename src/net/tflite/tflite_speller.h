// SPDX-License-Identifier: Apache-2.0
//
// Spells a drawing node by node: by the same functions in floats and, where code_spelling has found that all around a
// node are codes, in codes. Internal to net/tflite.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "net/tflite/code_spelling.h"
#include "net/tflite/tflite_draft.h"
#include "net/tflite/tflite_export.h"
#include "net/tflite/value_orders.h"

namespace nibble {

// Why a node has no spelling.
struct TfliteRefusal {
  std::string reason;
};

class TfliteSpeller {
 public:
  TfliteSpeller(const Net& net, const NetCodes& codes, const TfliteExportOptions& options);
  TfliteModel write();

 private:
  // What is being spelled: a node, or a node with the activation and the Quantize behind it.
  struct Site {
    const Node& node;
    ValueId made = 0;  // whose tensor the result is
    TfliteKind kind;   // of the result
    TfliteActivation activation = TfliteActivation::none;
    bool is_coded() const { return kind.is_coded(); }
  };

  // tflite_export.cpp: the walk, and values
  void add_input(const NetPort& port);
  void add_output(const NetPort& port);
  void write(const Node& node);
  void spell(const Site& site);
  std::string name_of(ValueId value) const;
  Extents extents(ValueId value) const { return extents_of(net_.graph.values[value]); }
  Extents lying(ValueId value, ValueOrder order) const;
  void set(ValueId value, ValueOrder order, int tensor);
  // The tensor of a value, converted to floats, or to an order, where it lies otherwise.
  int floats(ValueId value, ValueOrder order);
  int codes(ValueId dequantized, ValueOrder order);
  int in(const Site& site, std::size_t input, ValueOrder order) {
    return site.is_coded() ? codes(site.node.inputs[input], order) : floats(site.node.inputs[input], order);
  }
  int stored(ValueId value, ValueOrder order);
  ValueOrder order(ValueId value) const { return orders_[value]; }
  std::vector<std::uint64_t> place_all(std::span<const std::uint64_t> axes, ValueOrder order, std::size_t rank) const;

  // What a site makes, of one operator.
  void make(const Site& site, int code, std::vector<int> inputs, ValueOrder order, TfliteOptions options = {});
  int step(const Site& site, int code, std::vector<int> inputs, const Extents& shape, TfliteOptions options = {});
  int number(float number);
  [[noreturn]] static void refuse(std::string reason) { throw TfliteRefusal{std::move(reason)}; }

  // spell_products.cpp
  void spell_convolution(const Site& site, const Convolution& op);
  void spell_transposed(const Site& site, const TransposedConvolution& op);
  void spell_linear(const Site& site, const Linear& op);
  void spell_matrix_product(const Site& site);
  void spell_pooling(const Site& site, const Pooling& op);
  int weights(const Site& site, const std::string& part, const Extents& shape, std::span<const std::uint64_t> order,
              const Extents& lying, std::uint64_t dimension);
  int bias(const Site& site, const std::string& part, const std::string& bias, std::uint64_t outputs);
  struct Windowed {
    int x = -1;
    TfliteOptions options;
    Extents made;  // batch, rows, cols, 0
  };
  Windowed windowed(const Site& site, const Window& window, bool rounds_up, std::optional<float> pad,
                    bool counts_pads = false);
  void make_windowed(const Site& site, int code, std::vector<int> inputs, const Windowed& over, std::uint64_t channels);

  // spell_points.cpp
  void spell_unary(const Site& site, const Unary& op);
  void spell_binary(const Site& site, Binary::Kind kind);
  void spell_layer_norm(const Site& site, const LayerNorm& op);
  void spell_batch_norm(const Site& site, const BatchNorm& op);
  void spell_silu(const Site& site);
  int operand(const Site& site, std::size_t input, ValueOrder order, std::size_t rank);

  // spell_layout.cpp
  void spell_reshape(const Site& site);
  void spell_transpose(const Site& site, const Transpose& op);
  void spell_concat(const Site& site, const Concat& op);
  void spell_pad(const Site& site, const Pad& op);
  void spell_slice(const Site& site, std::span<const std::uint64_t> begin, std::span<const std::uint64_t> count,
                   std::span<const std::int64_t> step);
  void spell_gather(const Site& site, const Gather& op);
  void spell_resize(const Site& site, const Resize& op);
  void spell_reduce(const Site& site, const Reduce& op);
  void spell_softmax(const Site& site, const Softmax& op);

  const Net& net_;
  const NetCodes& codes_;
  TfliteExportOptions options_;
  CodeSpelling spelling_;
  std::vector<ValueOrder> orders_;
  TfliteDraft draft_;
  std::map<std::pair<ValueId, ValueOrder>, int> tensors_;  // of values of codes their codes
  std::map<std::pair<ValueId, ValueOrder>, int> floats_;   // of dequantized values
  std::set<int> named_;                                    // tensors that are inputs or outputs
};

}  // namespace nibble
