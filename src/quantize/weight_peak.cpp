// SPDX-License-Identifier: Apache-2.0
#include "quantize/weight_peak.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "base/half.h"

namespace nibble {
namespace {

// What a core's cache holds until the piece is looked through a second time.
constexpr std::size_t kPieceElements = 65536;

constexpr std::uint64_t kBandRows = 64;  // read together

template <class Bits>
Bits magnitude_bits(const std::byte* elements, std::size_t index) {
  Bits bits;
  std::memcpy(&bits, elements + index * sizeof bits, sizeof bits);
  return static_cast<Bits>(bits & std::numeric_limits<Bits>::max());
}

}  // namespace

// Bits: signed, so that the sign is the bit beyond its largest number.
template <class Bits>
void PeakSearch::look(std::span<const std::byte> elements) {
  const std::size_t count = elements.size() / sizeof(Bits);
  for (std::size_t begin = 0; begin < count; begin += kPieceElements) {
    const std::size_t end = std::min(count, begin + kPieceElements);
    Bits largest = 0;
    for (std::size_t i = begin; i < end; ++i) largest = std::max(largest, magnitude_bits<Bits>(elements.data(), i));
    if (static_cast<std::uint32_t>(largest) <= largest_) continue;
    largest_ = static_cast<std::uint32_t>(largest);
    std::size_t at = begin;
    while (magnitude_bits<Bits>(elements.data(), at) != largest) ++at;
    index_ = count_ + at;
  }
  count_ += count;
}

void PeakSearch::add(std::span<const std::byte> elements) {
  dtype_ == DType::f32 ? look<std::int32_t>(elements) : look<std::int16_t>(elements);
}

WeightPeak PeakSearch::peak() const {
  WeightPeak peak;
  peak.magnitude = dtype_ == DType::f32   ? std::bit_cast<float>(largest_)
                   : dtype_ == DType::f16 ? f16_to_f32(static_cast<std::uint16_t>(largest_))
                                          : bf16_to_f32(static_cast<std::uint16_t>(largest_));
  peak.is_finite = std::isfinite(peak.magnitude);
  if (cols_ > 0) {
    peak.row = index_ / cols_;
    peak.column = index_ % cols_;
  }
  return peak;
}

WeightPeak peak_of(const TensorSource& source) {
  const QuantizedView* const planes = source.planes();
  if (planes != nullptr && planes->format->info().kind == FormatKind::raw) {
    PeakSearch search(planes->specs.front().dtype, planes->cols);
    search.add(planes->planes.front());
    return search.peak();
  }
  PeakSearch search(DType::f32, source.cols());
  std::vector<float> row(source.cols());
  QuantizedTensor room;
  for (std::uint64_t begin = 0; begin < source.rows(); begin += kBandRows) {
    const std::uint64_t end = std::min(source.rows(), begin + kBandRows);
    const TensorRows rows = source.read_rows(begin, end, room);
    for (std::uint64_t i = begin; i < end; ++i) {
      rows.decode_row(i, row);
      search.add(std::as_bytes(std::span(row)));
    }
  }
  return search.peak();
}

}  // namespace nibble
