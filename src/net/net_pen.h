// SPDX-License-Identifier: Apache-2.0
//
// The pen that readers of small nets draw with: what is known when a file is read is worked out at once, so that shapes
// that a file computes become plain numbers; the rest becomes operations. One thread at a time.
//
//   NetPen pen;
//   NetValue x = pen.input("x", NumberType::f32, {1, 3, 32, 32});
//   NetValue y = pen.apply(Unary{Unary::Kind::relu}, {x});
//   pen.output("y", y);
//   Net net = std::move(pen).finish();
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "net/net.h"

namespace nibble {

// Of floating types `numbers`, of others `integers`.
struct NetConstant {
  NumberType type = NumberType::f32;
  Extents extents;
  std::vector<float> numbers = {};
  std::vector<std::int64_t> integers = {};
};

// What a name of a file stands for: numbers that are known, or a value of the drawing.
struct NetValue {
  NumberType type = NumberType::f32;
  Dimensions shape;
  std::shared_ptr<const NetConstant> constant = nullptr;
  ValueId id = 0;  // where constant is null

  bool is_constant() const { return constant != nullptr; }
  std::size_t rank() const { return shape.size(); }
  std::uint64_t extent(std::size_t dimension) const { return shape[dimension].extent; }
  Extents extents() const { return extents_of(shape); }
};

class NetPen {
 public:
  NetValue input(const std::string& name, NumberType type, const Extents& extents);
  void output(const std::string& name, const NetValue& value);
  // What the file calls a value; the first name stays.
  void name(const NetValue& value, const std::string& name);

  NetValue constant(NetConstant constant);
  NetValue numbers(std::vector<float> numbers, Extents extents);
  NetValue number(float number) { return numbers({number}, {}); }
  NetValue integers(std::vector<std::int64_t> integers, Extents extents, NumberType type = NumberType::i64);

  // Error(internal): what does not fit together, as a drawing says it. type: of what is made; the first input's where
  // it is left out.
  NetValue apply(Operation operation, const std::vector<NetValue>& inputs);
  NetValue apply(Operation operation, const std::vector<NetValue>& inputs, NumberType type);

  // Often wanted.
  NetValue add(const NetValue& a, const NetValue& b) { return binary(Binary::Kind::add, a, b); }
  NetValue multiply(const NetValue& a, const NetValue& b) { return binary(Binary::Kind::multiply, a, b); }
  NetValue binary(Binary::Kind kind, const NetValue& a, const NetValue& b);
  NetValue unary(Unary::Kind kind, const NetValue& x, float a = 0, float b = 0);
  NetValue reshape(const NetValue& x, const Extents& extents);
  NetValue reshape(const NetValue& x, Dimensions shape);
  NetValue transpose(const NetValue& x, std::vector<std::uint64_t> order);
  // count numbers along a dimension from `begin` on
  NetValue slice(const NetValue& x, std::uint64_t axis, std::uint64_t begin, std::uint64_t count);

  // The numbers of a constant, whole ones too, in f32. Error(internal): whole numbers that f32 does not hold.
  static std::vector<float> numbers_of_constant(const NetConstant& constant);

  // A part of the net: `wanted` or, where that is taken, with a number behind it. Numbers that several operations read
  // as the same kind of part stand once.
  std::string part(const std::string& wanted, std::vector<float> numbers);
  std::string free_part(const std::string& wanted);
  void put(const std::string& part, std::vector<float> numbers);

  const Graph& graph() const { return net_.graph; }
  // Without what no output needs.
  Net finish() &&;

 private:
  bool may_fold(const Operation& operation, std::span<const Dimensions> shapes, std::uint64_t numbers);
  NetValue fold(const Operation& operation, const std::vector<NetValue>& inputs, NumberType type, Dimensions shape);
  NetValue fold_movement(const Operation& operation, const std::vector<NetValue>& inputs, NumberType type,
                         Dimensions shape);
  ValueId draw(Operation operation, std::vector<ValueId> inputs, Dimensions shape);
  ValueId id_of(const NetValue& value);

  Net net_;
  std::map<const NetConstant*, std::pair<std::shared_ptr<const NetConstant>, ValueId>> drawn_;
  std::map<std::string, std::uint64_t> suffixes_;
  std::uint64_t folded_ = 0, worked_ = 0;  // numbers made, and multiplications and additions, while reading
};

}  // namespace nibble
