// SPDX-License-Identifier: Apache-2.0
//
// A TensorFlow Lite model while it is written: tensors and operators, constants once each. One thread at a time.
// Internal to net/tflite.
//
//   TfliteDraft draft;
//   const int y = draft.value("y", shape, draft.kind(x));
//   draft.add(tflite_code::kReshape, {x, draft.whole_numbers(shape)}, y);
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "graph/extents.h"
#include "io/tflite/tflite_model.h"

namespace nibble {

// Of codes -128 .. 127: (code - zero) * scale.
struct TfliteGrid {
  float scale = 1;
  std::int32_t zero = 0;
  bool operator==(const TfliteGrid&) const = default;
};

// What a tensor's numbers are: floats, or codes on a grid.
struct TfliteKind {
  std::optional<TfliteGrid> grid = std::nullopt;
  bool is_coded() const { return grid.has_value(); }
};

class TfliteDraft {
 public:
  // Whose name is taken already gets a number behind it.
  int value(const std::string& name, const Extents& shape, const TfliteKind& kind);
  int value(const std::string& name, const Extents& shape, TfliteType type);
  int numbers(const std::string& name, std::span<const float> numbers, const Extents& shape);
  // shape: of none so many in a row.
  int whole_numbers(std::span<const std::uint64_t> numbers, const Extents& shape = {});
  int codes(const std::string& name, std::span<const std::int8_t> codes, const Extents& shape,
            std::span<const float> scales, std::uint64_t dimension, std::int32_t zero = 0);
  int biases(const std::string& name, std::span<const std::int32_t> biases, std::span<const float> scales);

  void add(int code, std::vector<int> inputs, int output, const TfliteOptions& options = {});
  // And the value that it makes.
  int apply(int code, std::vector<int> inputs, const std::string& name, const Extents& shape, const TfliteKind& kind,
            const TfliteOptions& options = {});

  // The same numbers in another shape, and in another order: order: of each dimension of the result, which of x it is.
  int reshape(int x, const Extents& shape, const std::string& name);
  int transpose(int x, const std::vector<std::uint64_t>& order, const std::string& name);

  const TfliteTensor& tensor(int index) const { return model_.tensors[static_cast<std::size_t>(index)]; }
  TfliteKind kind(int index) const;
  // Names that nothing else gets but what is renamed to them.
  void reserve(const std::string& name) { names_.insert(name); }
  void rename(int index, const std::string& name);
  void input(int index) { model_.inputs.push_back(index); }
  void output(int index) { model_.outputs.push_back(index); }
  // Without operators that nothing needs, and tensors that nothing names.
  TfliteModel finish() &&;

 private:
  int constant(TfliteTensor tensor, std::string bytes);
  std::string free_name(const std::string& wanted);

  TfliteModel model_;
  std::map<int, std::size_t> makers_;  // by tensor: place in operators
  std::set<std::string> names_;
  std::map<std::string, int> constants_;  // by name and bytes
};

}  // namespace nibble
