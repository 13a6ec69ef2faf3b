// SPDX-License-Identifier: Apache-2.0
//
// Which kernels read trellises, and what they make of tiles, against states gathered bit by bit.
#include "kernels/linear/trellis_kernels.h"

#include "format/random_tiles.h"
#include "kernels/guarded_buffer.h"
#include "kernels/kernel_sets.h"
#include "kernels/linear/linear.h"

namespace nibble {
namespace {

TEST(TrellisKernels, NameTheirInstructions) {
  const QuantizedTensor tensor = random_tiles(find_format("trellis2:l8"), 64, 256, 1);
  for (const Isa isa : runnable_sets()) {
    Machine machine(isa, 1);
    EXPECT_EQ(PackedLinear::pack(tensor.view(), {}, machine).kernel_name(),
              std::string(isa_name(isa)) + "/int8 2-bit tiles by " + trellis_kernels(isa).name + " from trellis2:l8");
  }
}

std::size_t state_at(const std::uint8_t* tile, std::size_t tile_bits, std::size_t bit, unsigned bits) {
  std::size_t state = 0;
  for (std::size_t i = 0; i < bits; ++i) {
    const std::size_t at = (bit + i) % tile_bits;
    state |= (std::size_t{tile[at / 8]} >> (at % 8) & 1) << i;
  }
  return state;
}

// Tiles and the bytes behind them that may be read, and no more.
TEST(TrellisKernels, DecodeTheStateOfEverySymbol) {
  constexpr std::size_t kQuads = 6;
  for (unsigned code_bits = 1; code_bits <= 6; ++code_bits)
    for (const unsigned state_bits : {8u, 12u, 16u}) {
      const TrellisShape shape{.state_bits = state_bits, .code_bits = code_bits};
      const FormatPtr format = find_format("trellis" + std::to_string(code_bits) + ":l" + std::to_string(state_bits));
      const auto values = trellis_values(shape);
      const TrellisOperands operands = trellis_operands(shape);
      for (const QuantizedTensor& tensor : {random_tiles(format, kTrellisRows, 4 * kQuads, state_bits),
                                            extreme_tiles(format, kTrellisRows, 4 * kQuads)}) {
        const std::size_t bytes = tile_bytes(shape);
        ASSERT_EQ(tensor.planes[0].size(), kQuads * bytes);
        const GuardedBuffer<std::uint8_t> tiles(kQuads * bytes + kTileSlack);
        std::memcpy(tiles.data(), tensor.planes[0].data(), kQuads * bytes);
        std::vector<std::uint8_t> expected(kQuads * kTrellisTile);
        for (std::size_t i = 0; i < expected.size(); ++i)
          expected[i] = static_cast<std::uint8_t>(values[state_at(tiles.data() + i / kTrellisTile * bytes, 8 * bytes,
                                                                  i % kTrellisTile * code_bits, state_bits)] +
                                                  operands.middle);
        for (const Isa isa : runnable_sets())
          for (const TrellisKernels* const kernels : {&trellis_kernels(isa, {}), &trellis_kernels(isa)}) {
            const GuardedBuffer<std::uint8_t> panel(expected.size());
            kernels->decode(operands, tiles.data(), kQuads, panel.data());
            EXPECT_EQ(panel.copy(), expected) << format->name() << ' ' << kernels->name;
          }
      }
    }
}

// The largest and the smallest number of a trellis are among them, or they would try nothing.
TEST(TrellisKernels, ExtremeTilesHoldExtremeNumbers) {
  for (const char* const name : {"trellis1:l16", "trellis2:l8", "trellis3:l12", "trellis6:l8"}) {
    const FormatPtr format = find_format(name);
    const auto values = trellis_values(*trellis_shape(*format));
    const auto [smallest, largest] = std::minmax_element(values.begin(), values.end());
    const auto decoded = extreme_tiles(format, 64, 512).view().decode();
    const auto [low, high] = std::minmax_element(decoded.begin(), decoded.end());
    EXPECT_EQ(*low, static_cast<float>(*smallest) / 128) << name;
    EXPECT_EQ(*high, static_cast<float>(*largest) / 128) << name;
  }
}

}  // namespace
}  // namespace nibble
