// SPDX-License-Identifier: Apache-2.0
#include "format/block/tq1_0.h"

#include "format/scale.h"

namespace nibble {

namespace {

// Three runs of bytes: how many bytes, and how many digits in each.
struct Run {
  std::size_t bytes, digits, first_column, first_byte;
};
constexpr Run kRuns[] = {{32, 5, 0, 0}, {16, 5, 160, 32}, {4, 4, 240, 48}};

std::uint8_t join_digits(const Code* codes, const Run& run, std::size_t byte) {
  unsigned v = 0;
  for (std::size_t n = 0; n < 5; ++n)
    v = v * 3 + (n < run.digits ? codes[run.first_column + n * run.bytes + byte] : 0u);
  return static_cast<std::uint8_t>((v * 256 + 242) / 243);
}

}  // namespace

void Tq1_0::pack(const Grid& grid, const Code* codes, Block& block) {
  block.d = f32_to_f16(grid.d);
  std::uint8_t bytes[52];
  for (const Run& run : kRuns)
    for (std::size_t m = 0; m < run.bytes; ++m) bytes[run.first_byte + m] = join_digits(codes, run, m);
  std::memcpy(block.qs, bytes, 48);
  std::memcpy(block.qh, bytes + 48, 4);
}

void Tq1_0::unpack(const Block& block, Grid& grid, Code* codes) {
  grid.d = f16_to_f32(block.d);
  grid.threshold = 0.5f * grid.d;
  std::uint8_t bytes[52];
  std::memcpy(bytes, block.qs, 48);
  std::memcpy(bytes + 48, block.qh, 4);
  for (const Run& run : kRuns) {
    for (std::size_t m = 0; m < run.bytes; ++m) {
      unsigned rest = bytes[run.first_byte + m];
      for (std::size_t n = 0; n < run.digits; ++n) {
        codes[run.first_column + n * run.bytes + m] = rest * 3 >> 8;
        rest = rest * 3 & 255u;
      }
    }
  }
}

void Tq1_0::encode(const float* x, const float* importance, const FitOptions& options, Block& block) {
  Grid grid;
  Code codes[256];
  encode_ternary_block(x, importance, options, grid, codes);
  pack(grid, codes, block);
}

std::optional<std::string> Tq1_0::find_defect(const Block& block) {
  if (!f16_is_finite(block.d)) return "the scale is not finite";
  return std::nullopt;
}

FormatPtr make_tq1_0() { return std::make_shared<BlockFormat<Tq1_0>>(); }

}  // namespace nibble
