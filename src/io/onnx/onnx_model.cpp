// SPDX-License-Identifier: Apache-2.0
#include "io/onnx/onnx_model.h"

#include <limits>

namespace nibble {

unsigned onnx_type_bits(OnnxType type) {
  switch (type) {
    case OnnxType::f32:
    case OnnxType::i32:
    case OnnxType::u32:
      return 32;
    case OnnxType::i64:
    case OnnxType::u64:
    case OnnxType::f64:
      return 64;
    case OnnxType::f16:
    case OnnxType::bf16:
    case OnnxType::u16:
    case OnnxType::i16:
      return 16;
    case OnnxType::u8:
    case OnnxType::i8:
    case OnnxType::boolean:
      return 8;
    case OnnxType::u4:
    case OnnxType::i4:
      return 4;
    case OnnxType::u2:
    case OnnxType::i2:
      return 2;
    case OnnxType::text:
    case OnnxType::undefined:
      break;
  }
  return 0;
}

std::optional<std::uint64_t> initializer_bytes(const OnnxInitializer& initializer) {
  const unsigned bits = onnx_type_bits(initializer.type);
  if (bits == 0) return std::nullopt;
  constexpr std::uint64_t kMost = std::numeric_limits<std::uint64_t>::max() / 64;
  std::uint64_t elements = 1;
  for (const std::uint64_t extent : initializer.dims) {
    if (extent != 0 && elements > kMost / extent) return std::nullopt;
    elements *= extent;
  }
  return (elements * bits + 7) / 8;
}

const std::int64_t* OnnxNode::integer(std::string_view attribute) const { return find<std::int64_t>(attribute); }

const float* OnnxNode::real(std::string_view attribute) const { return find<float>(attribute); }

}  // namespace nibble
