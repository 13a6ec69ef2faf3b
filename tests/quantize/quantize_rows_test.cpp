// SPDX-License-Identifier: Apache-2.0
#include "quantize/quantize_rows.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "base/random.h"
#include "nibble/error.h"
#include "quantize/model_free_matrix.h"

namespace nibble {
namespace {

constexpr std::uint64_t kRows = 300, kCols = 512;

std::uint64_t reversed(std::uint64_t row, std::uint64_t count) { return count - 1 - row; }

TEST(QuantizeRows, AgreesWithTheFormatRowByRow) {
  const QuantizedTensor source = random_matrix(kRows, kCols, 1);
  const QuantizedView view = source.view();
  ThreadPool pool(2);
  const Method method = find_method("rtn");
  for (const char* name : {"q8_0", "int4:g32:asym", "f16"}) {
    const FormatPtr format = find_format(name);
    const QuantizedTensor band = quantize_rows({.view = &view, .name = "t"}, 7, 200, format, {.method = &method}, pool);
    ASSERT_EQ(band.rows, 193u);
    QuantizedTensor expected(format, 193, kCols);
    std::vector<float> row(kCols);
    for (std::uint64_t r = 0; r < 193; ++r) {
      view.decode_row(7 + r, row);
      format->encode_row(row, {}, nullptr, 7 + r, {}, expected.row(r));
    }
    EXPECT_EQ(band.planes, expected.planes) << name;
  }
}

TEST(QuantizeRows, GivesTheSameBytesForAnyNumberOfThreads) {
  const QuantizedTensor source = random_matrix(kRows, kCols, 2);
  const QuantizedView view = source.view();
  const Method method = find_method("rtn");
  std::vector<std::vector<std::byte>> first;
  for (std::size_t threads = 1; threads <= 4; ++threads) {
    ThreadPool pool(threads);
    const QuantizedTensor band = quantize_rows({.view = &view, .name = "t"}, 0, kRows, find_format("q8_0"), {.method = &method}, pool);
    if (threads == 1) first = band.planes;
    EXPECT_EQ(band.planes, first) << threads;
  }
}

TEST(QuantizeRows, FollowsTheRowOrder) {
  const QuantizedTensor source = random_matrix(kRows, kCols, 3);
  const QuantizedView view = source.view();
  ThreadPool pool(2);
  const Method method = find_method("rtn");
  for (const char* name : {"f32", "q8_0"}) {  // copied, encoded
    const QuantizedTensor plain = quantize_rows({.view = &view, .name = "t"}, 0, kRows, find_format(name), {.method = &method}, pool);
    const QuantizedTensor turned = quantize_rows({.view = &view, .name = "t", .order = reversed, .order_argument = kRows}, 0, kRows,
                                                 find_format(name), {.method = &method}, pool);
    const std::size_t row_bytes = plain.planes[0].size() / kRows;
    for (std::uint64_t r = 0; r < kRows; ++r)
      ASSERT_EQ(std::memcmp(turned.planes[0].data() + r * row_bytes, plain.planes[0].data() + (kRows - 1 - r) * row_bytes, row_bytes), 0);
  }
}

TEST(QuantizeRows, CopiesWhatIsInTheFormatAlready) {
  const QuantizedTensor source = random_matrix(kRows, kCols, 4);
  const QuantizedView view = source.view();
  ThreadPool pool(2);
  const Method method = find_method("rtn");
  for (const char* name : {"q8_0", "int4:g32:asym", "int8:row"}) {
    const QuantizedTensor once = quantize_rows({.view = &view, .name = "t"}, 0, kRows, find_format(name), {.method = &method}, pool);
    const QuantizedView once_view = once.view();
    const QuantizedTensor twice = quantize_rows({.view = &once_view, .name = "t"}, 0, kRows, find_format(name), {.method = &method}, pool);
    EXPECT_EQ(twice.planes, once.planes) << name;
  }
}

TEST(QuantizeRows, NamesTheFirstWeightThatIsNoNumber) {
  QuantizedTensor source = random_matrix(kRows, kCols, 5);
  const auto put = [&](std::uint64_t row, std::uint64_t col, float value) {
    std::memcpy(source.planes[0].data() + (row * kCols + col) * sizeof(float), &value, sizeof(float));
  };
  put(250, 3, std::numeric_limits<float>::infinity());
  put(131, 17, std::nanf(""));
  put(131, 300, std::numeric_limits<float>::infinity());
  const QuantizedView view = source.view();
  const Method method = find_method("rtn");
  for (std::size_t threads = 1; threads <= 4; ++threads) {
    ThreadPool pool(threads);
    for (const char* name : {"q8_0", "f32", "f16"}) {
      try {
        quantize_rows({.view = &view, .name = "blk.0.attn_q.weight", .file = "m.gguf"}, 0, kRows, find_format(name), {.method = &method}, pool);
        ADD_FAILURE() << name;
      } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::corrupt);
        EXPECT_STREQ(error.what(),
                     "m.gguf: tensor 'blk.0.attn_q.weight' holds NaN, which no format can store; repair or retrain the model: row 131, column 17");
      }
    }
  }
}

TEST(QuantizeRows, NamesAValueBeyondF16) {
  QuantizedTensor source = random_matrix(4, 32, 6);
  const float value = 70000;
  std::memcpy(source.planes[0].data() + (2 * 32 + 5) * sizeof(float), &value, sizeof(float));
  const QuantizedView view = source.view();
  ThreadPool pool(1);
  try {
    quantize_rows({.view = &view, .name = "t"}, 0, 4, find_format("f16"), {}, pool);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::unsupported);
    EXPECT_STREQ(error.what(), "tensor 't' holds a value that f16 cannot; use bf16 or f32: row 2, column 5, value 70000.000000");
  }
  EXPECT_NO_THROW(quantize_rows({.view = &view, .name = "t"}, 0, 4, find_format("bf16"), {}, pool));
}

}  // namespace
}  // namespace nibble
