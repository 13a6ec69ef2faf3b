// SPDX-License-Identifier: Apache-2.0
#include "quantize/quantize_linear.h"
#include "kernels/chosen_isa.h"

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

// Runs of so many rows, each from its end to its beginning.
std::vector<std::uint32_t> reversed_in_runs(std::uint64_t rows, std::uint64_t run) {
  std::vector<std::uint32_t> order;
  for (std::uint64_t row = 0; row < rows; ++row)
    order.push_back(static_cast<std::uint32_t>(row / run * run + run - 1 - row % run));
  return order;
}
std::vector<std::uint32_t> reversed(std::uint64_t rows) { return reversed_in_runs(rows, rows); }

// Rows of a tensor without anything known of its inputs.
QuantizedTensor encode(const LinearWeights& weights, RowRange rows, const char* format, Machine& machine,
                       const char* method = "rtn") {
  const LinearTask task{.weights = weights, .format = find_format(format), .method = find_method(method)};
  RoundPlans plans;
  return LinearQuantizer(task, plans, machine).encode(rows);
}

SiteStatistics random_site(std::uint64_t width, std::uint64_t seed) {
  const QuantizedTensor inputs = random_matrix(2 * width, width, seed);
  const std::vector<float> x = inputs.view().decode();
  SiteStatistics site;
  site.count = 2 * width;
  site.mean_square.resize(width);
  site.second_moment.resize(width * width);
  for (std::uint64_t t = 0; t < 2 * width; ++t)
    for (std::uint64_t i = 0; i < width; ++i)
      for (std::uint64_t j = 0; j < width; ++j)
        site.second_moment[i * width + j] += x[t * width + i] * x[t * width + j] / static_cast<float>(2 * width);
  for (std::uint64_t i = 0; i < width; ++i) site.mean_square[i] = site.second_moment[i * width + i];
  return site;
}

// Rows [first, first + rows.rows) of `whole`, plane by plane.
void expect_rows(const QuantizedTensor& rows, QuantizedTensor& whole, std::uint64_t first, const std::string& what) {
  QuantizedTensor own = rows;
  for (std::uint64_t r = 0; r < own.rows; ++r)
    for (std::size_t p = 0; p < own.specs.size(); ++p)
      ASSERT_EQ(std::memcmp(own.row(r)[p], whole.row(first + r)[p], own.specs[p].row_bytes), 0)
          << what << " row " << first + r;
}

TEST(QuantizeLinear, AgreesWithTheFormatRowByRow) {
  const QuantizedTensor source = random_matrix(kRows, kCols, 1);
  const QuantizedView view = source.view();
  Machine machine(chosen_isa(), 2);
  for (const char* name : {"q8_0", "int4:g32:asym", "f16"}) {
    const FormatPtr format = find_format(name);
    const QuantizedTensor band = encode({.values = view, .name = "t"}, {7, 200}, name, machine);
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

// A block's scale is found from all its rows, for every method; bands begin between blocks and are what they are in the
// whole.
TEST(QuantizeLinear, RowsThatShareAGridStayTogether) {
  const QuantizedTensor source = random_matrix(kRows, kCols, 12);
  const QuantizedView view = source.view();
  const SiteStatistics site = random_site(kCols, 13), other = random_site(kCols, 14);
  const FormatPtr format = find_format("int4:block128x128");
  for (const char* method : {"rtn", "gptq"}) {
    std::vector<std::vector<std::byte>> first;
    for (std::size_t threads = 1; threads <= 3; ++threads) {
      Machine machine(chosen_isa(), threads);
      const LinearTask task{.weights = {.values = view, .name = "t"},
                            .format = format,
                            .method = find_method(method),
                            .moments = {{{0, 128}, &site}, {{128, kRows}, &other}}};
      RoundPlans plans;
      const LinearQuantizer linear(task, plans, machine);
      QuantizedTensor whole = linear.encode({0, kRows});
      if (threads == 1) first = whole.planes;
      EXPECT_EQ(whole.planes, first) << method;
      EXPECT_EQ(whole.specs[1].shape, (Shape{3, 4}));
      const std::vector<RowRange> bands = bands_of(task.weights, *format, 1);
      ASSERT_EQ(bands.size(), 3u);
      std::vector<float> decoded(kRows * kCols);
      for (const RowRange rows : bands) {
        const QuantizedTensor band = linear.encode(rows);
        expect_rows(band, whole, rows.begin, method);
        linear.decode(band, rows.begin, decoded);
      }
      EXPECT_EQ(decoded, whole.view().decode());
    }
  }
  // Against the format's own functions.
  Machine machine(chosen_isa(), 2);
  const std::vector<float> values = view.decode();
  const auto grid = format->prepare(values, kRows, kCols, {}, {});
  QuantizedTensor expected(format, kRows, kCols);
  format->pack_tensor(grid.get(), expected.row(0));
  for (std::uint64_t r = 0; r < kRows; ++r)
    format->encode_row(std::span(values).subspan(r * kCols, kCols), {}, grid.get(), r, {}, expected.row(r));
  const QuantizedTensor plain = encode({.values = view, .name = "t"}, {0, kRows}, "int4:block128x128", machine);
  EXPECT_EQ(plain.planes, expected.planes);
  // Copied, and coded again in another order.
  const QuantizedView coded = plain.view();
  EXPECT_EQ(encode({.values = coded, .name = "t"}, {0, kRows}, "int4:block128x128", machine).planes, plain.planes);
  const QuantizedTensor turned =
      encode({.values = coded, .name = "t", .order = reversed(kRows)}, {0, kRows}, "int4:block128x128", machine);
  EXPECT_NE(turned.planes[1], plain.planes[1]);
  // A part that begins inside a block.
  try {
    quantize_linear({.weights = {.values = view, .name = "t"},
                     .format = format,
                     .method = find_method("rtn"),
                     .moments = {{{0, 100}, &site}, {{100, kRows}, &other}}},
                    machine);
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::unsupported);
    EXPECT_STREQ(error.what(),
                 "int4:block128x128 keeps 128 rows together, and a part of this matrix begins between; choose a format "
                 "with a scale for every row: row 100");
  }
}

TEST(QuantizeLinear, GivesTheSameBytesForAnyNumberOfThreads) {
  const QuantizedTensor source = random_matrix(kRows, kCols, 2);
  const QuantizedView view = source.view();
  std::vector<std::vector<std::byte>> first;
  for (std::size_t threads = 1; threads <= 4; ++threads) {
    Machine machine(chosen_isa(), threads);
    const QuantizedTensor band = encode({.values = view, .name = "t"}, {0, kRows}, "q8_0", machine);
    if (threads == 1) first = band.planes;
    EXPECT_EQ(band.planes, first) << threads;
  }
}

TEST(QuantizeLinear, FollowsTheRowOrder) {
  const QuantizedTensor source = random_matrix(kRows, kCols, 3);
  const QuantizedView view = source.view();
  Machine machine(chosen_isa(), 2);
  for (const char* name : {"f32", "q8_0"}) {  // copied, encoded
    const QuantizedTensor plain = encode({.values = view, .name = "t"}, {0, kRows}, name, machine);
    const QuantizedTensor turned =
        encode({.values = view, .name = "t", .order = reversed(kRows)}, {0, kRows}, name, machine);
    const std::size_t row_bytes = plain.planes[0].size() / kRows;
    for (std::uint64_t r = 0; r < kRows; ++r)
      ASSERT_EQ(std::memcmp(turned.planes[0].data() + r * row_bytes,
                            plain.planes[0].data() + (kRows - 1 - r) * row_bytes, row_bytes),
                0);
  }
}

TEST(QuantizeLinear, CopiesWhatIsInTheFormatAlready) {
  const QuantizedTensor source = random_matrix(kRows, kCols, 4);
  const QuantizedView view = source.view();
  Machine machine(chosen_isa(), 2);
  for (const char* name : {"q8_0", "int4:g32:asym", "int8:row"}) {
    const QuantizedTensor once = encode({.values = view, .name = "t"}, {0, kRows}, name, machine);
    const QuantizedView once_view = once.view();
    const QuantizedTensor twice = encode({.values = once_view, .name = "t"}, {0, kRows}, name, machine);
    EXPECT_EQ(twice.planes, once.planes) << name;
  }
}

TEST(QuantizeLinear, NamesTheFirstWeightThatIsNoNumber) {
  QuantizedTensor source = random_matrix(kRows, kCols, 5);
  const auto put = [&](std::uint64_t row, std::uint64_t col, float value) {
    std::memcpy(source.planes[0].data() + (row * kCols + col) * sizeof(float), &value, sizeof(float));
  };
  put(250, 3, std::numeric_limits<float>::infinity());
  put(131, 17, std::nanf(""));
  put(131, 300, std::numeric_limits<float>::infinity());
  const QuantizedView view = source.view();
  for (std::size_t threads = 1; threads <= 4; ++threads) {
    Machine machine(chosen_isa(), threads);
    const SiteStatistics site = random_site(kCols, 16);
    for (const auto& [name, method] :
         {std::pair{"q8_0", "rtn"}, {"f32", "rtn"}, {"f16", "rtn"}, {"q8_0", "gptq"}, {"nf4:g64:dq", "rtn"}}) {
      const LinearTask task{.weights = {.values = view, .name = "blk.0.attn_q.weight", .file = "m.gguf"},
                            .format = find_format(name),
                            .method = find_method(method),
                            .moments = {{.rows = {0, kRows}, .inputs = &site}}};
      try {
        quantize_linear(task, machine);
        ADD_FAILURE() << name;
      } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::corrupt);
        EXPECT_STREQ(error.what(),
                     "m.gguf: tensor 'blk.0.attn_q.weight' holds NaN, which no format can store; repair or retrain the "
                     "model: row 131, column 17");
      }
    }
  }
}

TEST(QuantizeLinear, NamesAValueBeyondF16) {
  QuantizedTensor source = random_matrix(4, 32, 6);
  const float value = 70000;
  std::memcpy(source.planes[0].data() + (2 * 32 + 5) * sizeof(float), &value, sizeof(float));
  const QuantizedView view = source.view();
  Machine machine(chosen_isa(), 1);
  try {
    encode({.values = view, .name = "t"}, {0, 4}, "f16", machine);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::unsupported);
    EXPECT_STREQ(error.what(),
                 "tensor 't' holds a value that f16 cannot; use bf16 or f32: row 2, column 5, value 70000.000000");
  }
  EXPECT_NO_THROW(encode({.values = view, .name = "t"}, {0, 4}, "bf16", machine));
}

TEST(QuantizeLinear, NamesAValueBeyondBf16) {
  QuantizedTensor source = random_matrix(2, 32, 6);
  const auto put = [&](float value) {
    std::memcpy(source.planes[0].data() + (32 + 7) * sizeof(float), &value, sizeof(float));
  };
  const QuantizedView view = source.view();
  Machine machine(chosen_isa(), 1);
  put(0x1.fefffep127F);  // the last that is rounded down
  EXPECT_NO_THROW(encode({.values = view, .name = "t"}, {0, 2}, "bf16", machine));
  put(0x1.ffp127F);
  try {
    encode({.values = view, .name = "t"}, {0, 2}, "bf16", machine);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::unsupported);
    EXPECT_TRUE(std::string_view(error.what())
                    .starts_with("tensor 't' holds a value that bf16 cannot; use f32: row 1, column 7, value 3396"))
        << error.what();
  }
}

TEST(QuantizeLinear, ABandHasTheSameBytesAloneAndAmongOthers) {
  constexpr std::uint64_t kSmall = 96, kWidth = 256;
  const QuantizedTensor source = random_matrix(kSmall, kWidth, 7);
  const QuantizedView view = source.view();
  const SiteStatistics site = random_site(kWidth, 8);
  for (const char* method : {"rtn", "imatrix", "gptq", "descent"})
    for (const char* format : {"q4_k", "int3:g64", "nf4:g64:dq"}) {
      const LinearTask task{.weights = {.values = view, .order = reversed(kSmall)},
                            .format = find_format(format),
                            .method = find_method(method),
                            .moments = {{.rows = {0, kSmall}, .inputs = &site}}};
      Machine one(chosen_isa(), 1), three(chosen_isa(), 3);
      QuantizedTensor whole = quantize_linear(task, one);
      RoundPlans plans;
      const LinearQuantizer linear(task, plans, three);
      std::vector<float> values(kSmall * kWidth);
      for (const RowRange rows : {RowRange{64, 96}, RowRange{0, 7}, RowRange{7, 64}}) {  // in any order
        const QuantizedTensor band = linear.encode(rows);
        expect_rows(band, whole, rows.begin, std::string(method) + " " + format);
        linear.decode(band, rows.begin, values);
      }
      // In the order of the weights' own tensor.
      const std::vector<float> decoded = whole.view().decode();
      for (std::uint64_t row = 0; row < kSmall; ++row)
        ASSERT_EQ(std::memcmp(&values[(kSmall - 1 - row) * kWidth], &decoded[row * kWidth], kWidth * sizeof(float)), 0)
            << method << " " << format;
    }
}

TEST(QuantizeLinear, EveryRangeOfRowsIsRoundedForItsOwnInputs) {
  constexpr std::uint64_t kSmall = 48, kWidth = 128;
  const QuantizedTensor source = random_matrix(kSmall, kWidth, 9);
  const QuantizedView view = source.view();
  const SiteStatistics first = random_site(kWidth, 10), second = random_site(kWidth, 11);
  Machine machine(chosen_isa(), 2);
  // nf4:g64:dq is fitted to the whole tensor, so rows of a mixture have scales of their own there.
  for (const auto& [method, format] :
       {std::pair{"imatrix", "int3:g64"}, {"gptq", "int3:g64"}, {"gptq", "nf4:g64:dq"}}) {
    const bool is_by_rows = std::string_view(format) == "int3:g64";
    const auto task = [&, name = format, rounding = method](std::vector<RowMoment> moments) {
      return LinearTask{.weights = {.values = view},
                        .format = find_format(name),
                        .method = find_method(rounding),
                        .moments = std::move(moments)};
    };
    QuantizedTensor of_first = quantize_linear(task({{.rows = {0, kSmall}, .inputs = &first}}), machine);
    QuantizedTensor of_second = quantize_linear(task({{.rows = {0, kSmall}, .inputs = &second}}), machine);
    QuantizedTensor of_none = quantize_linear(task({}), machine);
    const LinearTask mixed =
        task({{.rows = {0, 20}, .inputs = &first}, {.rows = {20, 40}, .inputs = &second}, {.rows = {40, kSmall}}});
    QuantizedTensor whole = quantize_linear(mixed, machine);
    RoundPlans plans;
    const LinearQuantizer linear(mixed, plans, machine);
    const QuantizedTensor across = linear.encode({10, 45});
    expect_rows(across, whole, 10, method);
    for (std::uint64_t row = 0; row < kSmall && is_by_rows; ++row) {
      QuantizedTensor& expected = row < 20 ? of_first : row < 40 ? of_second : of_none;
      ASSERT_EQ(std::memcmp(whole.row(row)[0], expected.row(row)[0], whole.specs[0].row_bytes), 0)
          << method << " row " << row;
    }
    EXPECT_NE(of_first.planes, of_second.planes) << method;
    EXPECT_NE(of_first.planes, of_none.planes) << method;
  }
}

TEST(QuantizeLinear, RefusesMomentsThatDoNotCoverTheRows) {
  const QuantizedTensor source = random_matrix(8, 64, 12);
  const QuantizedView view = source.view();
  const SiteStatistics site = random_site(64, 13), narrow = random_site(32, 14);
  Machine machine(chosen_isa(), 1);
  const std::vector<std::vector<RowMoment>> wrong = {
      {{.rows = {0, 7}, .inputs = &site}},
      {{.rows = {0, 9}, .inputs = &site}},
      {{.rows = {1, 8}, .inputs = &site}},
      {{.rows = {0, 4}, .inputs = &site}, {.rows = {5, 8}, .inputs = &site}},
      {{.rows = {0, 5}, .inputs = &site}, {.rows = {4, 8}, .inputs = &site}},
      {{.rows = {0, 8}, .inputs = &narrow}}};
  for (const auto& moments : wrong) {
    const LinearTask task{.weights = {.values = view},
                          .format = find_format("int4:g32"),
                          .method = find_method("gptq"),
                          .moments = moments};
    EXPECT_THROW(quantize_linear(task, machine), Error);
  }
}

// Planes of a tensor, as if they had to be unpacked.
class CopiedRows final : public PackedRows {
 public:
  explicit CopiedRows(const QuantizedView& view)
      : PackedRows(view.format, view.rows, view.cols, view.parts), view_(view) {}
  void unpack(std::uint64_t begin, std::uint64_t end, std::uint64_t at, QuantizedTensor& out) const override {
    EXPECT_EQ(begin % format()->info().row_unit + at % format()->info().row_unit, 0u);
    for (std::uint64_t row = begin; row < end; ++row) out.copy_row(at + row - begin, view_, row);
  }
  std::vector<std::span<const std::byte>> stored_bytes() const override { return view_.planes; }

 private:
  QuantizedView view_;
};

TEST(QuantizeLinear, RowsThatAreUnpackedGiveTheBytesOfPlanes) {
  Machine machine(chosen_isa(), 3);
  const QuantizedTensor original = random_matrix(kRows, kCols, 21);
  for (const char* from : {"int4:g32:asym", "int4:block128x128", "f32", "q4_0"}) {
    QuantizedTensor tensor = encode({.values = original.view()}, {0, kRows}, from, machine);
    // As whoever opens a file would have it.
    const QuantizedView coded = make_view(tensor.format, kRows, kCols, tensor.view().planes, from);
    const TensorSource planes = coded, packed(std::make_shared<CopiedRows>(coded));
    EXPECT_EQ(packed.decode(), planes.decode()) << from;
    EXPECT_EQ(packed.slice(128, 150 + 22).decode(), planes.slice(128, 150 + 22).decode()) << from;
    EXPECT_EQ(packed.planes(), nullptr);
    for (const char* to : {from, "q8_0", "int8:tensor", "f16"}) {
      const auto encoded = [&](const TensorSource& source, RowRange rows, bool is_turned) {
        LinearWeights weights{.values = source, .name = "t"};
        if (is_turned) weights.order = reversed_in_runs(kRows, 60);
        return encode(weights, rows, to, machine).planes;
      };
      EXPECT_EQ(encoded(packed, {0, kRows}, false), encoded(planes, {0, kRows}, false)) << from << " to " << to;
      if (find_format(to)->info().row_unit != 1) continue;
      EXPECT_EQ(encoded(packed, {60, 181}, true), encoded(planes, {60, 181}, true)) << from << " to " << to;
    }
  }
}

TEST(QuantizeLinear, BandsCoverAllRowsAtMultiplesOfThoseThatBelongTogether) {
  const QuantizedTensor source = random_matrix(96, 64, 15);
  const QuantizedView view = source.view();
  const LinearWeights weights{.values = view, .order = reversed(96)};
  for (const char* const format : {"q8_0", "int4:block32x32"}) {
    std::uint64_t next = 0;
    for (const RowRange rows : bands_of(weights, *find_format(format), 40 * 64)) {
      EXPECT_EQ(rows.begin, next);
      EXPECT_EQ(rows.begin % find_format(format)->info().row_unit, 0u);
      next = rows.end;
    }
    EXPECT_EQ(next, 96u);
  }
  EXPECT_EQ(bands_of({.values = view}, *find_format("q8_0"), 1).size(), 96u);
}

}  // namespace
}  // namespace nibble
