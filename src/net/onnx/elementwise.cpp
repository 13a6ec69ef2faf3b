// SPDX-License-Identifier: Apache-2.0
//
// Operators that work on each number by itself.
#include <algorithm>
#include <limits>

#include "net/onnx/node_view.h"

namespace nibble {
namespace {

using UnaryKind = Unary::Kind;
using BinaryKind = Binary::Kind;

template <UnaryKind kind>
void plain(NodeView& n) {
  n.out(n.pen().unary(kind, n.in(0)));
}

template <BinaryKind kind>
void pair(NodeView& n) {
  n.out(n.pen().binary(kind, n.in(0), n.in(1)));
}

// Of any number of values.
template <BinaryKind kind>
void chain(NodeView& n) {
  NetValue all = n.in(0);
  for (std::size_t i = 1; i < n.num_inputs(); ++i) all = n.pen().binary(kind, all, n.in(i));
  n.out(std::move(all));
}

void mean(NodeView& n) {
  chain<BinaryKind::add>(n);
  n.out(n.pen().multiply(*n.output(0), n.pen().number(1.0F / static_cast<float>(n.num_inputs()))));
}

// Values of one shape are multiplied and added by the operations that decoders have, too.
template <class Op, BinaryKind kind>
void sum_or_product(NodeView& n) {
  const NetValue &a = n.in(0), &b = n.in(1);
  const bool is_plain = a.shape == b.shape && !a.is_constant() && !b.is_constant() && is_floating(a.type);
  n.out(is_plain ? n.pen().apply(Op{}, {a, b}) : n.pen().binary(kind, a, b));
}

void clip(NodeView& n) {
  float low = std::numeric_limits<float>::lowest(), high = std::numeric_limits<float>::max();
  if (n.opset() < 11) {
    low = n.number("min", low);
    high = n.number("max", high);
  } else {
    const auto bound = [&](std::size_t input, float& to) {
      if (n.has(input)) to = n.single(input);
    };
    bound(1, low);
    bound(2, high);
  }
  if (low == 0 && high == std::numeric_limits<float>::max()) return plain<UnaryKind::relu>(n);
  n.out(n.pen().unary(UnaryKind::clip, n.in(0), low, high));
}

template <UnaryKind kind>
void with_alpha(NodeView& n) {
  constexpr float kAlpha = kind == UnaryKind::leaky_relu ? 0.01F : 1.0F;
  n.out(n.pen().unary(kind, n.in(0), n.number("alpha", kAlpha)));
}

void hard_sigmoid(NodeView& n) {
  n.out(n.pen().unary(UnaryKind::hard_sigmoid, n.in(0), n.number("alpha", 0.2F), n.number("beta", 0.5F)));
}

void selu(NodeView& n) {
  n.out(n.pen().unary(UnaryKind::selu, n.in(0), n.number("alpha", 1.67326319217681884765625F),
                      n.number("gamma", 1.05070102214813232421875F)));
}

void gelu(NodeView& n) {
  const std::string form = n.text("approximate", "none");
  if (form == "tanh") return n.out(n.pen().apply(Gelu{}, {n.in(0)}));
  if (form != "none") n.damaged("an approximation that is not known: " + form);
  n.out(n.pen().unary(UnaryKind::gelu, n.in(0)));
}

void sigmoid(NodeView& n) { n.out(n.pen().apply(Sigmoid{}, {n.in(0)})); }

void swish(NodeView& n) {
  if (n.number("alpha", 1) != 1) n.refuse("an alpha other than 1");
  n.out(n.pen().apply(Silu{}, {n.in(0)}));
}

void parametric_relu(NodeView& n) { n.out(n.pen().binary(BinaryKind::parametric_relu, n.in(0), n.in(1))); }

void modulo(NodeView& n) {
  n.out(n.pen().binary(n.flag("fmod") ? BinaryKind::float_remainder : BinaryKind::remainder, n.in(0), n.in(1)));
  n.output(0)->type = n.in(0).type;
}

template <UnaryKind kind>
void truth(NodeView& n) {
  n.out(n.pen().apply(Unary{kind}, {n.in(0)}, NumberType::truth));
}

void power(NodeView& n) {
  const NetValue &x = n.in(0), &exponent = n.in(1);
  if (exponent.is_constant() && nibble::numbers_of(exponent.shape) == 1 && is_floating(x.type)) {
    const float e = NetPen::numbers_of_constant(*exponent.constant)[0];
    const bool keeps_shape = exponent.rank() <= x.rank();
    if (e == 2 && keeps_shape && !x.is_constant()) return n.out(n.pen().apply(Multiply{}, {x, x}));
    if (e == 0.5F && keeps_shape) return n.out(n.pen().unary(UnaryKind::square_root, x));
  }
  n.out(n.pen().binary(BinaryKind::power, x, exponent));
}

void where(NodeView& n) { n.out(n.pen().apply(Select{}, {n.in(0), n.in(1), n.in(2)}, n.in(1).type)); }

NumberType type_to(NodeView& n, std::int64_t type) { return number_type_of(static_cast<OnnxType>(type), n.node().op); }

// Whole numbers that a constant has stay whole; floats lose what is behind the point.
void cast_to(NodeView& n, NumberType to) {
  NetPen& pen = n.pen();
  const NetValue& x = n.in(0);
  if (x.is_constant() && !is_floating(x.type) && !is_floating(to) && to != NumberType::truth) {
    NetConstant moved = *x.constant;
    moved.type = to;
    return n.out(pen.constant(std::move(moved)));
  }
  if (to == NumberType::truth) return n.out(pen.apply(Unary{UnaryKind::is_true}, {x}, to));
  const bool truncates = is_floating(x.type) && !is_floating(to);
  if (truncates || (x.is_constant() && x.type != to))
    return n.out(pen.apply(Unary{truncates ? UnaryKind::truncate : UnaryKind::clip,
                                 std::numeric_limits<float>::lowest(), std::numeric_limits<float>::max()},
                           {x}, to));
  NetValue same = x;
  same.type = to;
  n.out(std::move(same));
}

void cast(NodeView& n) { cast_to(n, type_to(n, n.whole("to", 1, 1, 64))); }
void cast_like(NodeView& n) { cast_to(n, n.in(1).type); }

constexpr OnnxConverter kConverters[] = {{"Abs", plain<UnaryKind::absolute>},
                                         {"Add", sum_or_product<Add, BinaryKind::add>},
                                         {"And", pair<BinaryKind::both>},
                                         {"Cast", cast},
                                         {"CastLike", cast_like},
                                         {"Ceil", plain<UnaryKind::ceiling>},
                                         {"Celu", with_alpha<UnaryKind::celu>},
                                         {"Clip", clip},
                                         {"Cos", plain<UnaryKind::cosine>},
                                         {"Div", pair<BinaryKind::divide>},
                                         {"Elu", with_alpha<UnaryKind::elu>},
                                         {"Equal", pair<BinaryKind::equal>},
                                         {"Erf", plain<UnaryKind::erf>},
                                         {"Exp", plain<UnaryKind::exponential>},
                                         {"Floor", plain<UnaryKind::floor>},
                                         {"Gelu", gelu},
                                         {"Greater", pair<BinaryKind::greater>},
                                         {"GreaterOrEqual", pair<BinaryKind::greater_or_equal>},
                                         {"HardSigmoid", hard_sigmoid},
                                         {"HardSwish", plain<UnaryKind::hard_swish>},
                                         {"IsNaN", truth<UnaryKind::is_nan>},
                                         {"LeakyRelu", with_alpha<UnaryKind::leaky_relu>},
                                         {"Less", pair<BinaryKind::less>},
                                         {"LessOrEqual", pair<BinaryKind::less_or_equal>},
                                         {"Log", plain<UnaryKind::logarithm>},
                                         {"Max", chain<BinaryKind::maximum>},
                                         {"Mean", mean},
                                         {"Min", chain<BinaryKind::minimum>},
                                         {"Mish", plain<UnaryKind::mish>},
                                         {"Mod", modulo},
                                         {"Mul", sum_or_product<Multiply, BinaryKind::multiply>},
                                         {"Neg", plain<UnaryKind::negative>},
                                         {"Not", truth<UnaryKind::invert>},
                                         {"Or", pair<BinaryKind::either>},
                                         {"PRelu", parametric_relu},
                                         {"Pow", power},
                                         {"Reciprocal", plain<UnaryKind::reciprocal>},
                                         {"Relu", plain<UnaryKind::relu>},
                                         {"Round", plain<UnaryKind::round>},
                                         {"Selu", selu},
                                         {"Sigmoid", sigmoid},
                                         {"Sign", plain<UnaryKind::sign>},
                                         {"Sin", plain<UnaryKind::sine>},
                                         {"Softplus", plain<UnaryKind::softplus>},
                                         {"Softsign", plain<UnaryKind::softsign>},
                                         {"Sqrt", plain<UnaryKind::square_root>},
                                         {"Sub", pair<BinaryKind::subtract>},
                                         {"Sum", chain<BinaryKind::add>},
                                         {"Swish", swish},
                                         {"Tanh", plain<UnaryKind::tanh>},
                                         {"ThresholdedRelu", with_alpha<UnaryKind::thresholded_relu>},
                                         {"Where", where},
                                         {"Xor", pair<BinaryKind::one_of>}};

}  // namespace

std::span<const OnnxConverter> elementwise_converters() { return kConverters; }

}  // namespace nibble
