// SPDX-License-Identifier: Apache-2.0
#include "format/raw.h"

#include <cassert>
#include <cmath>
#include <cstring>

#include "base/half.h"
#include "base/letter_case.h"
#include "format/scale.h"
#include "nibble/error.h"

namespace nibble {

namespace {

struct RawType {
  const char* description;
  std::uint32_t ggml_type, ggml_ftype;
  float max_finite;
};

RawType raw_type(DType dtype) {
  switch (dtype) {
    case DType::f16:
      return {"half-precision floating point (IEEE 754 binary16)", 1, 1, kMaxF16};
    case DType::bf16:
      return {"the upper half of single precision (bfloat16)", 30, 32, bf16_to_f32(0x7f7f)};
    default:
      return {"single-precision floating point (IEEE 754 binary32)", 0, 0, std::numeric_limits<float>::max()};
  }
}

FormatInfo make_info(DType dtype) {
  const RawType type = raw_type(dtype);
  FormatInfo info;
  info.name = lower_case(dtype_name(dtype));
  info.description = type.description;
  info.kind = FormatKind::raw;
  info.bits_per_weight = 8.0 * static_cast<double>(dtype_size(dtype));
  info.ggml_type = type.ggml_type;
  info.ggml_ftype = type.ggml_ftype;
  info.max_magnitude = type.max_finite;
  return info;
}

class RawFormat final : public Format {
 public:
  explicit RawFormat(DType dtype)
      : Format(make_info(dtype)), dtype_(dtype), size_(dtype_size(dtype)), max_finite_(raw_type(dtype).max_finite) {}

  std::vector<PlaneSpec> planes(std::uint64_t rows, std::uint64_t cols) const override {
    const std::uint64_t elements = checked_elements({rows, cols, size_}, info_.name);
    return {PlaneSpec{"", dtype_, {rows, cols}, cols * size_, elements}};
  }

  std::size_t grid_bytes() const override { return 1; }  // nothing to hold, but a span's grid has an address
  std::uint64_t num_codes() const override { return std::uint64_t{1} << (8 * size_); }

  void fit(std::span<const float>, std::span<const float>, const TensorGrid*, std::uint64_t, const FitOptions&,
           std::byte*, std::size_t) const override {}

  Code nearest(const std::byte*, std::size_t, const float* target, const float*) const override {
    // Finite values saturate; rounding alone would make infinities of them.
    const float value = std::fabs(*target) <= max_finite_ ? *target : std::copysign(max_finite_, *target);
    switch (dtype_) {
      case DType::f16:
        return f32_to_f16(value);
      case DType::bf16:
        return f32_to_bf16(value);
      default:
        return std::bit_cast<std::uint32_t>(value);
    }
  }

  void value(const std::byte*, std::size_t, Code code, float* out) const override {
    switch (dtype_) {
      case DType::f16:
        *out = f16_to_f32(static_cast<std::uint16_t>(code));
        return;
      case DType::bf16:
        *out = bf16_to_f32(static_cast<std::uint16_t>(code));
        return;
      default:
        *out = std::bit_cast<float>(code);
    }
  }

  void pack(const std::byte*, const Code* codes, std::size_t span_index, std::size_t columns,
            const RowPlanes& row) const override {
    for (std::size_t i = 0; i < columns; ++i) std::memcpy(row[0] + (span_index + i) * size_, &codes[i], size_);
  }

  void unpack(const ConstRowPlanes& row, std::size_t span_index, std::size_t columns, const TensorGrid*, std::uint64_t,
              std::byte*, Code* codes) const override {
    for (std::size_t i = 0; i < columns; ++i) {
      codes[i] = 0;
      std::memcpy(&codes[i], row[0] + (span_index + i) * size_, size_);
    }
  }

  void encode_row(std::span<const float> x, std::span<const float>, const TensorGrid*, std::uint64_t, const FitOptions&,
                  const RowPlanes& row) const override {
    if (dtype_ == DType::f32) {
      std::memcpy(row[0], x.data(), x.size_bytes());
      return;
    }
    for (std::size_t i = 0; i < x.size(); ++i) {
      const auto bits = static_cast<std::uint16_t>(nearest(nullptr, 0, &x[i], nullptr));
      std::memcpy(row[0] + 2 * i, &bits, 2);
    }
  }

  void decode_row(const ConstRowPlanes& row, const TensorGrid*, std::uint64_t, std::span<float> out) const override {
    widen_to_f32(dtype_, {row[0], out.size() * size_}, out);
  }

  std::optional<std::string> find_defect(const ConstRowPlanes& row, std::uint64_t cols) const override {
    for (std::uint64_t i = 0; i < cols; ++i) {
      Code code = 0;
      float element;
      std::memcpy(&code, row[0] + i * size_, size_);
      value(nullptr, 0, code, &element);
      if (!std::isfinite(element)) return "the element is not finite at column " + std::to_string(i);
    }
    return std::nullopt;
  }

 private:
  DType dtype_;
  std::size_t size_;
  float max_finite_;
};

}  // namespace

FormatPtr make_raw_format(DType dtype) {
  if (dtype != DType::f32 && dtype != DType::f16 && dtype != DType::bf16) return nullptr;
  return std::make_shared<RawFormat>(dtype);
}

}  // namespace nibble
