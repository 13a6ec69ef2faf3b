// SPDX-License-Identifier: Apache-2.0
#include "quantize/round/exact.h"

#include <algorithm>
#include <vector>

#include "format/row_tiles.h"
#include "format/sparse_format.h"
#include "nibble/error.h"

namespace nibble {
namespace {

class ExactRounder final : public Rounder {
 public:
  std::string_view name() const noexcept override { return "exact"; }
  void encode(const Format& format, const RoundInput& input, const RowPlanes& out) const override {
    std::vector<float> read_back(input.values.size());
    if (encode_exactly(format, input.values, input.row, out, read_back)) return;
    throw Error(ErrorKind::unsupported,
                "a row has numbers that " + format.name() + " cannot hold exactly: row " + std::to_string(input.row));
  }
  // Row by row in all formats: none has outliers where numbers stay the same.
  void encode_band(const Format& format, const RoundBand& band, QuantizedTensor& out, Machine& machine) const override {
    machine.pool.parallel_for(band.rows, 4, [&](std::size_t begin, std::size_t end, std::size_t) {
      for (std::size_t row = begin; row < end; ++row)
        encode(format,
               {band.values.subspan(row * band.cols, band.cols), band.importance, band.tensor_grid,
                band.first_row + row, band.fit},
               out.row(row));
    });
  }
};

}  // namespace

bool encode_exactly(const Format& format, std::span<const float> values, std::uint64_t row, const RowPlanes& out,
                    std::span<float> read_back) {
  // A row alone has no codes in tiles, and one of any numbers none in sparse formats.
  if (find_row_tiles(format) != nullptr || find_sparse_format(format) != nullptr) {
    std::ranges::fill(read_back, 0.0F);
    return false;
  }
  if (format.info().kind == FormatKind::raw)
    format.encode_row(values, {}, nullptr, row, {}, out);
  else
    format.Format::encode_row(values, {}, nullptr, row, {.rule = FitRule::exact}, out);  // span by span
  ConstRowPlanes planes;
  std::ranges::copy(out, planes.begin());
  format.decode_row(planes, nullptr, row, read_back);
  return std::ranges::equal(values, read_back);
}

std::shared_ptr<const Rounder> make_exact_rounder() { return std::make_shared<ExactRounder>(); }

}  // namespace nibble
