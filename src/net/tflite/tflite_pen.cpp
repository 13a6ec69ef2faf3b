// SPDX-License-Identifier: Apache-2.0
#include "net/tflite/tflite_pen.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/half.h"
#include "io/message_text.h"
#include "nibble/error.h"

namespace nibble {
namespace {

NumberType number_type(TfliteType type, const std::string& where) {
  switch (type) {
    case TfliteType::f32:
      return NumberType::f32;
    case TfliteType::f16:
      return NumberType::f16;
    case TfliteType::i32:
      return NumberType::i32;
    case TfliteType::u8:
      return NumberType::u8;
    case TfliteType::i64:
      return NumberType::i64;
    case TfliteType::truth:
      return NumberType::truth;
    case TfliteType::i16:
      return NumberType::i16;
    case TfliteType::i8:
      return NumberType::i8;
  }
  throw Error(ErrorKind::unsupported,
              fmt::format("{}: elements of a type that is not read: {}", where, static_cast<int>(type)));
}

template <class Stored, class Made>
void unpack(std::span<const std::byte> bytes, std::vector<Made>& made) {
  for (std::size_t i = 0; i + sizeof(Stored) <= bytes.size(); i += sizeof(Stored)) {
    Stored stored;
    std::memcpy(&stored, &bytes[i], sizeof stored);
    made.push_back(static_cast<Made>(stored));
  }
}

}  // namespace

NetValue channels_second(NetPen& pen, const NetValue& x) { return x.rank() == 4 ? pen.transpose(x, {0, 3, 1, 2}) : x; }
NetValue channels_last(NetPen& pen, const NetValue& x) { return x.rank() == 4 ? pen.transpose(x, {0, 2, 3, 1}) : x; }

void TflitePen::input(int index) {
  const TfliteTensor& one = tensor(index);
  const NetValue x = pen_.input(one.name, number_type(one.type, source_), one.shape);
  set(index, channels_second(pen_, x), source_);
}

void TflitePen::output(int index) {
  if (index < 0) throw Error(ErrorKind::corrupt, source_ + ": an output is left out");
  pen_.output(tensor(index).name, channels_last(pen_, value(index, source_)));
}

const NetValue& TflitePen::value(int index, const std::string& where) {
  const auto known = values_.find(index);
  if (known != values_.end()) return known->second;
  if (tensor(index).bytes.empty())
    throw Error(ErrorKind::corrupt,
                fmt::format("{}: reads {}, which nothing before it makes", where, quote_name(tensor(index).name)));
  return values_.emplace(index, channels_second(pen_, pen_.constant(stored(index, where)))).first->second;
}

void TflitePen::set(int index, NetValue value, const std::string& where) {
  pen_.name(value, tensor(index).name);
  if (!values_.emplace(index, std::move(value)).second)
    throw Error(ErrorKind::corrupt, fmt::format("{}: makes {} once more", where, quote_name(tensor(index).name)));
}

NetConstant TflitePen::stored(int index, const std::string& where) const {
  const TfliteTensor& one = tensor(index);
  NetConstant made{number_type(one.type, where), one.shape};
  const std::uint64_t count = numbers_of(std::span(made.extents));
  const std::size_t width = one.type == TfliteType::i64                                  ? 8
                            : one.type == TfliteType::f32 || one.type == TfliteType::i32 ? 4
                            : one.type == TfliteType::f16 || one.type == TfliteType::i16 ? 2
                                                                                         : 1;
  if (one.bytes.size() / width != count || one.bytes.size() % width != 0)
    throw Error(ErrorKind::corrupt, fmt::format("{}: tensor {} should have {} numbers: {} bytes", where,
                                                quote_name(one.name), count, one.bytes.size()));
  switch (one.type) {
    case TfliteType::f32:
      unpack<float>(one.bytes, made.numbers);
      break;
    case TfliteType::f16: {
      std::vector<std::uint16_t> halves;
      unpack<std::uint16_t>(one.bytes, halves);
      for (const std::uint16_t half : halves) made.numbers.push_back(f16_to_f32(half));
      break;
    }
    case TfliteType::i32:
      unpack<std::int32_t>(one.bytes, made.integers);
      break;
    case TfliteType::i64:
      unpack<std::int64_t>(one.bytes, made.integers);
      break;
    case TfliteType::i16:
      unpack<std::int16_t>(one.bytes, made.integers);
      break;
    case TfliteType::i8:
      unpack<std::int8_t>(one.bytes, made.integers);
      break;
    case TfliteType::u8:
    case TfliteType::truth:
      unpack<std::uint8_t>(one.bytes, made.integers);
      break;
  }
  return made;
}

void TfliteView::damaged(std::string_view why) const {
  throw Error(ErrorKind::corrupt, fmt::format("{}: {}", where_, why));
}
void TfliteView::refuse(std::string_view why) const {
  throw Error(ErrorKind::unsupported, fmt::format("{}: {}", where_, why));
}

const TfliteTensor& TfliteView::tensor(std::size_t input) const {
  if (!has(input)) damaged(fmt::format("its input {} is missing", input));
  return pen_.tensor(op_.inputs[input]);
}

const NetValue& TfliteView::in(std::size_t input) const {
  tensor(input);
  return pen_.value(op_.inputs[input], where_);
}

NetConstant TfliteView::stored(std::size_t input) const {
  if (tensor(input).bytes.empty()) refuse(fmt::format("its input {} is known only when the net runs", input));
  return pen_.stored(op_.inputs[input], where_);
}

std::vector<std::int64_t> TfliteView::whole_numbers(std::size_t input) const {
  NetConstant numbers = stored(input);
  if (is_floating(numbers.type)) damaged(fmt::format("its input {} is not of whole numbers", input));
  return std::move(numbers.integers);
}

const TfliteTensor& TfliteView::result() const {
  if (op_.outputs.size() != 1 || op_.outputs[0] < 0) damaged("it should have one output");
  return pen_.tensor(op_.outputs[0]);
}

void TfliteView::out(NetValue value) {
  const Extents expected = result().shape;
  const Extents made = channels_last(pen(), value).extents();
  if (made != expected && !expected.empty())
    damaged(fmt::format("it makes the shape [{}], but the file says [{}]", fmt::join(made, ", "),
                        fmt::join(expected, ", ")));
  value.type = number_type(result().type, where_);
  pen_.set(op_.outputs[0], std::move(value), where_);
}

float TfliteView::scale_of(const TfliteTensor& tensor) const {
  if (tensor.scales.size() != 1)
    damaged(fmt::format("{} should have one scale: {}", quote_name(tensor.name), tensor.scales.size()));
  if (!(tensor.scales[0] > 0) || !std::isfinite(tensor.scales[0]))
    damaged(fmt::format("{} has a scale that is none", quote_name(tensor.name)));
  return tensor.scales[0];
}

NetValue TfliteView::real(std::size_t input) const {
  const TfliteTensor& one = tensor(input);
  if (!is_coded(input)) return in(input);
  const float scale = scale_of(one);
  return pen().apply(Dequantize{0}, {in(input), pen().number(scale), pen().number(static_cast<float>(one.zeros[0]))},
                     NumberType::f32);
}

NetValue TfliteView::centred(std::size_t input) const {
  const TfliteTensor& one = tensor(input);
  scale_of(one);
  return pen().apply(Dequantize{0}, {in(input), pen().number(1), pen().number(static_cast<float>(one.zeros[0]))},
                     NumberType::f32);
}

TfliteView::CodeRange TfliteView::code_range() const {
  const WholeRange range = whole_range(number_type(result().type, where_));
  const float scale = scale_of(result());
  const double zero = static_cast<double>(result().zeros[0]);
  const auto code = [&](double number) {
    return std::clamp(std::nearbyint(number / static_cast<double>(scale)) + zero, range.low, range.high);
  };
  double low = range.low, high = range.high;
  switch (options().activation) {
    case TfliteActivation::relu:
      low = code(0);
      break;
    case TfliteActivation::relu6:
      low = code(0);
      high = code(6);
      break;
    case TfliteActivation::relu_n1_to_1:
      low = code(-1);
      high = code(1);
      break;
    case TfliteActivation::tanh:
      refuse("tanh of codes, fused");
    case TfliteActivation::none:
      break;
  }
  return {static_cast<std::int32_t>(low), static_cast<std::int32_t>(high)};
}

void TfliteView::out_real(NetValue value) {
  if (gives_codes()) {
    const CodeRange range = code_range();
    return out(pen().apply(Quantize{range.low, range.high, 0}, {value, pen().number(scale_of(result())),
                                                                pen().number(static_cast<float>(result().zeros[0]))}));
  }
  switch (options().activation) {
    case TfliteActivation::relu:
      return out(pen().unary(Unary::Kind::relu, value));
    case TfliteActivation::relu6:
      return out(pen().unary(Unary::Kind::clip, value, 0, 6));
    case TfliteActivation::relu_n1_to_1:
      return out(pen().unary(Unary::Kind::clip, value, -1, 1));
    case TfliteActivation::tanh:
      return out(pen().unary(Unary::Kind::tanh, value));
    case TfliteActivation::none:
      return out(std::move(value));
  }
}

}  // namespace nibble
