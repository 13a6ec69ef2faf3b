// SPDX-License-Identifier: Apache-2.0
#include "kernels/linear/trellis_kernels.h"

#include <array>
#include <vector>

#include "format/trellis/state_values.h"

namespace nibble {
namespace {

constexpr std::int32_t kTableMiddle = 128;

struct Table {
  std::array<std::uint8_t, 256> operands;
  std::vector<std::uint16_t> pairs;
};

Table make_table(unsigned code_bits) {
  Table table;
  const auto values = trellis_table(code_bits);
  for (std::size_t state = 0; state < 256; ++state)
    table.operands[state] = static_cast<std::uint8_t>(values[state] + kTableMiddle);
  table.pairs.resize(std::size_t{256} << code_bits);
  for (std::size_t bits = 0; bits < table.pairs.size(); ++bits)
    table.pairs[bits] = static_cast<std::uint16_t>(table.operands[bits & 255] | table.operands[bits >> code_bits] << 8);
  return table;
}

}  // namespace

TrellisOperands trellis_operands(const TrellisShape& shape) {
  if (shape.state_bits != kTableStateBits) return {shape, kHashMiddle};
  static const std::array<Table, 6> tables = {make_table(1), make_table(2), make_table(3),
                                              make_table(4), make_table(5), make_table(6)};
  const Table& table = tables.at(shape.code_bits - 1);
  return {shape, kTableMiddle, table.operands.data(), table.pairs.data()};
}

const TrellisKernels& trellis_kernels(Isa isa) {
  static const CpuFeatures features = detect_cpu();
  return trellis_kernels(isa, features);
}

}  // namespace nibble
