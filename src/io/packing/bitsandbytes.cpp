// SPDX-License-Identifier: Apache-2.0
#include "io/packing/bitsandbytes.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "format/planar/dynamic_map.h"
#include "format/planar/format.h"
#include "format/planar/planes.h"
#include "format/planar/points.h"
#include "io/json_text.h"
#include "io/packing/planar_words.h"
#include "nibble/error.h"

namespace nibble {
namespace {

constexpr std::uint64_t kMaxBlock = 1 << 20;

struct QuantState {
  PlanarPoints points = PlanarPoints::nf4;
  std::uint64_t rows = 0, cols = 0, block = 64;
  float offset = 0;  // nested_offset
};

QuantState parse_state(const TensorView& tensor, const std::string& where) {
  const std::string_view text(reinterpret_cast<const char*>(tensor.bytes.data()), tensor.bytes.size());
  const auto json = parse_json(text, where + ": quant_state");
  const auto refuse = [&](const char* key) {
    throw Error(ErrorKind::corrupt, fmt::format("{}: quant_state: {} is missing or none", where, key));
  };
  const auto number = [&](const nlohmann::ordered_json& value, const char* key) {
    if (!value.is_number_unsigned() || value.get<std::uint64_t>() == 0) refuse(key);
    return value.get<std::uint64_t>();
  };
  if (!json.is_object()) refuse("quant_type");
  QuantState state;
  const auto type = json.value("quant_type", nlohmann::ordered_json());
  if (type != "nf4" && type != "fp4") refuse("quant_type");
  if (type == "fp4") state.points = PlanarPoints::fp4;
  state.block = number(json.value("blocksize", nlohmann::ordered_json()), "blocksize");
  if (state.block > kMaxBlock) refuse("blocksize");
  const auto shape = json.value("shape", nlohmann::ordered_json());
  if (!shape.is_array() || shape.size() != 2) refuse("shape");
  state.rows = number(shape[0], "shape");
  state.cols = number(shape[1], "shape");
  if (const auto offset = json.find("nested_offset"); offset != json.end() && offset->is_number())
    state.offset = offset->get<float>();
  if (!std::isfinite(state.offset)) refuse("nested_offset");
  if (const auto size = json.find("nested_blocksize"); size != json.end() && *size != kBitsandbytesNested)
    refuse("nested_blocksize");
  return state;
}

float float_at(const TensorView& tensor, std::uint64_t index) {
  float value;
  std::memcpy(&value, tensor.bytes.data() + index * sizeof value, sizeof value);
  return value;
}

class BlockRows final : public PackedRows {
 public:
  BlockRows(FormatPtr format, const QuantState& state, BitsandbytesTensors tensors)
      : PackedRows(std::move(format), state.rows, state.cols, nullptr), state_(state), tensors_(std::move(tensors)) {}

  void unpack(std::uint64_t begin, std::uint64_t end, std::uint64_t at, QuantizedTensor& out) const override {
    const auto swap = [](std::byte codes) { return codes << 4 | codes >> 4; };
    const std::uint64_t bytes = cols() / 2, groups = cols() / state_.block;
    std::transform(tensors_.weight.bytes.data() + begin * bytes, tensors_.weight.bytes.data() + end * bytes,
                   out.planes[kCodes].data() + at * bytes, swap);
    for (std::uint64_t i = 0; i < (end - begin) * groups; ++i)
      write_float(scale(begin * groups + i), ScaleType::f32,
                  out.planes[kScales].data() + (at * groups + i) * sizeof(float));
  }

  std::vector<std::span<const std::byte>> stored_bytes() const override {
    std::vector pieces = {tensors_.weight.bytes, tensors_.absmax.bytes, tensors_.quant_map.bytes,
                          tensors_.quant_state.bytes};
    for (const auto& tensor : {tensors_.nested_absmax, tensors_.nested_quant_map})
      if (tensor) pieces.push_back(tensor->bytes);
    return pieces;
  }

 private:
  float scale(std::uint64_t block) const {
    if (!tensors_.is_doubly_quantized()) return float_at(tensors_.absmax, block);
    const auto code = std::to_integer<std::uint64_t>(tensors_.absmax.bytes[static_cast<std::size_t>(block)]);
    const float product =
        float_at(*tensors_.nested_quant_map, code) * float_at(*tensors_.nested_absmax, block / kBitsandbytesNested);
    return product + state_.offset;
  }

  QuantState state_;
  BitsandbytesTensors tensors_;
};

}  // namespace

TensorSource read_bitsandbytes(const BitsandbytesTensors& tensors, const std::string& where) {
  const QuantState state = parse_state(tensors.quant_state, where);
  const std::uint64_t numbers = checked_elements({state.rows, state.cols, 4}, where) / 4;
  if (state.cols % state.block != 0 || state.cols % 2 != 0)
    refuse_packing(where, fmt::format("blocks of {} numbers reach from one row of {} into the next, which no format "
                                      "here has",
                                      state.block, state.cols));
  const std::uint64_t blocks = numbers / state.block;
  require_tensor(tensors.weight, "weight", DType::u8, {numbers / 2, 1}, where);
  require_tensor(tensors.quant_map, "quant_map", DType::f32, {16}, where);
  if (tensors.is_doubly_quantized()) {
    if (!tensors.nested_absmax || !tensors.nested_quant_map)
      throw Error(
          ErrorKind::corrupt,
          fmt::format("{}: absmax is quantized itself, and nested_absmax or nested_quant_map is missing", where));
    require_tensor(*tensors.nested_absmax, "nested_absmax", DType::f32,
                   {(blocks + kBitsandbytesNested - 1) / kBitsandbytesNested}, where);
    require_tensor(*tensors.nested_quant_map, "nested_quant_map", DType::f32, {kBitsandbytesNested}, where);
  }
  require_tensor(tensors.absmax, "absmax", tensors.is_doubly_quantized() ? DType::u8 : DType::f32, {blocks}, where);
  const PointTable& points = *point_table(state.points);
  for (std::uint64_t code = 0; code < 16; ++code)
    if (!(std::fabs(float_at(tensors.quant_map, code) - points.value(static_cast<Code>(code))) <= 1e-6f))
      refuse_packing(where, fmt::format("quant_map has another point for code {} than {}: {}", code,
                                        points.value(static_cast<Code>(code)), float_at(tensors.quant_map, code)));
  PlanarSpec spec;
  spec.points = state.points;
  spec.group = static_cast<std::uint32_t>(state.block);
  spec.scale = ScaleType::f32;
  return TensorSource(std::make_shared<BlockRows>(find_format(planar_name(spec)), state, tensors));
}

BitsandbytesPacked pack_bitsandbytes(const QuantizedView& view, std::string_view dtype, const std::string& where) {
  const PlanarSpec* const given = find_planar_spec(*view.format);
  const bool is_fp4 = given != nullptr && given->points == PlanarPoints::fp4;
  const PlanarSpec& spec =
      spec_to_pack(view, "bitsandbytes", is_fp4 ? PlanarPoints::fp4 : PlanarPoints::nf4, {}, where);
  const bool is_double = spec.scale == ScaleType::dq;
  if (spec.grain != PlanarGrain::group || view.cols % spec.group != 0 || view.cols % 2 != 0 ||
      (spec.scale != ScaleType::f32 && !is_double))
    refuse_packing(where, fmt::format("bitsandbytes cannot hold {}", view.format->name()));
  const std::uint64_t numbers = view.rows * view.cols, blocks = numbers / spec.group;
  const auto copy = [&](std::size_t plane, DType type, Shape shape) {
    return Tensor{type, std::move(shape), {view.planes[plane].begin(), view.planes[plane].end()}};
  };
  const auto floats = [](std::span<const float> values) {
    Tensor tensor = blank_tensor(DType::f32, {values.size()});
    std::memcpy(tensor.bytes.data(), values.data(), values.size_bytes());
    return tensor;
  };
  std::vector<float> points;
  for (Code code = 0; code < 16; ++code) points.push_back(point_table(spec.points)->value(code));
  nlohmann::ordered_json state = {{"quant_type", is_fp4 ? "fp4" : "nf4"},
                                  {"blocksize", spec.group},
                                  {"dtype", dtype},
                                  {"shape", {view.rows, view.cols}}};
  BitsandbytesPacked packed{copy(kCodes, DType::u8, {numbers / 2, 1}),
                            copy(kScales, is_double ? DType::u8 : DType::f32, {blocks}),
                            floats(points),
                            {}};
  for (std::byte& codes : packed.weight.bytes) codes = codes << 4 | codes >> 4;
  if (is_double) {
    float offset;
    std::memcpy(&offset, view.planes[kOffset].data(), sizeof offset);
    state.update({{"nested_blocksize", kBitsandbytesNested}, {"nested_dtype", "float32"}, {"nested_offset", offset}});
    packed.nested_absmax = copy(kNested, DType::f32, {(blocks + kBitsandbytesNested - 1) / kBitsandbytesNested});
    packed.nested_quant_map = floats(kDynamicMap);
  }
  const std::string text = state.dump();
  if (text.size() > kBitsandbytesState) refuse_packing(where, fmt::format("quant_state is too long: {}", text));
  packed.quant_state = {DType::u8, {kBitsandbytesState}, std::vector(kBitsandbytesState, std::byte{' '})};
  std::memcpy(packed.quant_state.bytes.data(), text.data(), text.size());
  return packed;
}

}  // namespace nibble
