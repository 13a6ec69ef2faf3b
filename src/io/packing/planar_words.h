// SPDX-License-Identifier: Apache-2.0
//
// What packings of other programs have in common: tensors of words that must have a shape, formats of integers on
// grids, and inputs that belong to groups in an order of their own. Pure; safe from any thread. Internal to packing/.
//
// Codes in words lie as in planes: a row of little-endian words, filled from the least significant bit on, is the same
// bits as a row of bytes. What differs between packings is which way the words run and where the rows end.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "format/planar/spec.h"
#include "format/quantized_tensor.h"
#include "nibble/error.h"
#include "tensor/tensor.h"

namespace nibble {

// A tensor is not what its layout's settings make it; who knows their names adds them.
class MisfitError : public Error {
 public:
  explicit MisfitError(const std::string& message) : Error(ErrorKind::corrupt, message) {}
};

// MisfitError "where: name should be I32 [32, 64] but is ..." unless it is.
void require_tensor(const TensorView& tensor, std::string_view name, DType dtype, const Shape& shape,
                    const std::string& where);
// Error(unsupported) "where: 'why'".
[[noreturn]] void refuse_packing(const std::string& where, const std::string& why);

// The type of F16, BF16 and F32 scales; Error(unsupported) for others.
ScaleType scale_type_of(const TensorView& scales, std::string_view name, const std::string& where);

// The format of integers with a scale of this type for each `group` inputs (0: for each row).
FormatPtr integer_format(unsigned bits, std::uint32_t group, bool is_asymmetric, ScaleType scale);

// The planar format of a tensor that is to be packed, which has no parts but those in `taken`. Error(unsupported) names
// `who` and the format where it is none, or one of other points than those.
const PlanarSpec& spec_to_pack(const QuantizedView& view, std::string_view who, PlanarPoints points,
                               std::initializer_list<TensorPart> taken, const std::string& where);

// Codes of 4 bits that ggml's blocks hold apart, the first half in low nibbles and the second in high ones, side by
// side with the even one low; and back. bytes: of both.
inline void write_adjacent(const std::uint8_t* apart, std::size_t bytes, std::uint8_t* adjacent) {
  for (std::size_t pair = 0; pair < bytes / 2; ++pair) {
    const unsigned first = apart[2 * pair], second = apart[2 * pair + 1];
    adjacent[pair] = static_cast<std::uint8_t>((first & 15) | (second & 15) << 4);
    adjacent[pair + bytes / 2] = static_cast<std::uint8_t>(first >> 4 | (second & 0xf0));
  }
}
inline void read_adjacent(const std::uint8_t* adjacent, std::size_t bytes, std::uint8_t* apart) {
  for (std::size_t pair = 0; pair < bytes / 2; ++pair) {
    const unsigned first = adjacent[pair], second = adjacent[pair + bytes / 2];
    apart[2 * pair] = static_cast<std::uint8_t>((first & 15) | (second & 15) << 4);
    apart[2 * pair + 1] = static_cast<std::uint8_t>(first >> 4 | (second & 0xf0));
  }
}

// One of codes that lie one behind the other, least significant first. bits: 1, 2, 4 or 8. put_code: into zeros.
inline std::uint32_t code_at(const std::byte* bytes, unsigned bits, std::uint64_t index) {
  const std::uint64_t bit = index * bits;
  return (std::to_integer<std::uint32_t>(bytes[bit / 8]) >> bit % 8) & ((1u << bits) - 1);
}
inline void put_code(std::byte* bytes, unsigned bits, std::uint64_t index, std::uint32_t code) {
  const std::uint64_t bit = index * bits;
  bytes[bit / 8] |= static_cast<std::byte>(code << bit % 8);
}

// Zeroed.
Tensor blank_tensor(DType dtype, Shape shape);

// Words of 32 bits that so many codes fill.
inline std::uint64_t num_words(std::uint64_t count, unsigned bits) { return (count * bits + 31) / 32; }

inline std::uint64_t num_groups(std::uint64_t cols, std::uint32_t group) {
  return group == 0 ? 1 : cols / group + (cols % group != 0 ? 1 : 0);
}

// The order in which inputs lie where those of a group lie together, each group's own in ascending order: column c of
// the codes is input order[c]. Empty where they lie so already. groups: I32 [cols], the group of each input.
// Error(corrupt) for groups that there are not, Error(unsupported) for groups of other sizes than `group`.
std::vector<std::uint32_t> order_of_groups(const TensorView& groups, std::uint32_t group, std::uint64_t cols,
                                           const std::string& where);
// And back: the group of each input, I32 [cols].
Tensor groups_of_order(std::span<const std::uint32_t> order, std::uint32_t group, std::uint64_t cols);

// to[c] = from[order[c]] for `bits`-bit codes in rows of bytes; the inverse: to[order[c]] = from[c]. Scratch for one
// thread.
class CodeOrder {
 public:
  CodeOrder(std::span<const std::uint32_t> order, unsigned bits);
  void gather(const std::byte* from, std::byte* to);
  void scatter(const std::byte* from, std::byte* to);

 private:
  std::span<const std::uint32_t> order_;
  unsigned bits_;
  std::vector<std::uint8_t> given_, moved_;
};

}  // namespace nibble
