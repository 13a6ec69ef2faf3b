// SPDX-License-Identifier: Apache-2.0
//
// From a net to steps and buffers. Values come into being in the layout that their makers have; who reads them asks for
// the layout that it needs, and where that is another one they are moved once for all readers.
#pragma once

#include <array>
#include <optional>
#include <vector>

#include "net/engine/buffer_plan.h"
#include "net/engine/code_fusion.h"
#include "net/engine/fusion.h"
#include "net/engine/step.h"
#include "net/net.h"

namespace nibble::net_engine {

// A buffer that is planned, or numbers that lie elsewhere.
struct BuiltBuffer {
  PlannedBuffer plan;
  const float* given = nullptr;
};

struct BuiltProgram {
  std::vector<StepPointer> steps;
  std::vector<BuiltBuffer> buffers;
  std::vector<View> inputs, outputs;  // rows, in the net's order
};

// The net outlives the program.
BuiltProgram build_program(const Net& net);

class ProgramBuilder {
 public:
  explicit ProgramBuilder(const Net& net);
  BuiltProgram build() &&;

 private:
  // What has been made of a value so far.
  struct Places {
    std::array<std::optional<View>, 2> floats, codes;  // by layout
  };

  void find_fusions();
  void find_bit_products();
  void find_borders();
  void emit(const Node& node);
  void emit_product(const Node& end, const FloatFusion& fusion);
  void emit_convolution(const Node& end, const FloatFusion& fusion, const Convolution& op);
  void emit_linear(const Node& end, const FloatFusion& fusion, const Linear& op);
  void emit_bit_product(const Node& end, const FloatFusion& fusion, ValueId of_signs);
  void emit_pooling(const Node& node, const Pooling& op);
  bool emit_mean(const Node& node, const Reduce& op);
  void emit_reshape(const Node& node);
  bool emit_movement(const Node& node);
  void emit_lstm(const Node& node, const Lstm& op);
  bool emit_gather(const Node& node, const Gather& op);
  void emit_concat(const Node& node, const Concat& op);
  bool emit_pad(const Node& node, const Pad& op);
  bool emit_function(const Node& node);
  void emit_reference(const Node& node);

  void emit_codes(const Node& end, const CodeFusion& fusion);
  void emit_code_product(const Node& end, const CodeProduct& product);
  bool emit_quantize(const Node& node);
  bool emit_dequantize(const Node& node);
  bool emit_code_pooling(const Node& node, const Pooling& op);

  const Dimensions& shape(ValueId value) const { return net_.graph.values[value]; }
  Extents extents(ValueId value) const { return extents_of(shape(value)); }
  bool fits_places(ValueId value) const { return ImageExtents::fit(shape(value).size()); }
  const std::optional<View>& made(ValueId value, Layout layout, Element element = Element::f32) const {
    const Places& places = made_[value];
    return (element == Element::f32 ? places.floats : places.codes)[static_cast<std::size_t>(layout)];
  }
  bool has(ValueId value, Layout layout, Element element = Element::f32) const {
    return made(value, layout, element).has_value();
  }
  bool has_codes(ValueId value) const {
    return has(value, Layout::rows, Element::code) || has(value, Layout::places, Element::code);
  }
  // Whether who reads a value asks for places.
  bool wants_places(ValueId value) const { return wants_places_[value]; }
  Layout layout_of_result(ValueId input, ValueId output) const;

  View need(ValueId value, Layout layout, Element element = Element::f32);
  // As it lies already, places first.
  View any(ValueId value, Element element = Element::f32);
  View make(ValueId value, Layout layout, Element element = Element::f32);
  void set(ValueId value, Layout layout, const View& view);
  // The element of moved codes and numbers: codes where a value lies in them.
  Element element_of(ValueId value) const;
  View buffer_for(View view, std::size_t numbers);
  void push(StepPointer step, std::initializer_list<const View*> views);
  void touch(BufferId buffer);

  const Net& net_;
  Readers readers_;
  CodeValues values_;
  std::vector<std::optional<FloatFusion>> fusions_;  // by node
  std::vector<std::optional<CodeFusion>> code_fusions_;
  std::vector<bool> absorbed_;                      // by node
  std::vector<std::optional<ValueId>> of_signs_;    // by product: the value whose signs it counts
  std::vector<Border> borders_, code_borders_;      // by value
  std::vector<std::optional<std::uint8_t>> zeros_;  // of codes that products read: the byte of 0, by value
  std::vector<bool> wants_places_;
  std::vector<Places> made_;
  BuiltProgram program_;
};

}  // namespace nibble::net_engine
