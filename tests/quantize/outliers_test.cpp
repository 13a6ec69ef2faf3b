// SPDX-License-Identifier: Apache-2.0
//
// Outliers as rounders choose them: against another program's choice, better where weights have outliers, the same on
// any threads, and never undone.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/mapped_file.h"
#include "base/random.h"
#include "format/outlier_format.h"
#include "kernels/chosen_isa.h"
#include "kernels/encode/encoders.h"
#include "quantize/quantize_linear.h"
#include "quantize/round/gptq.h"
#include "quantize/round/nearest.h"

namespace nibble {
namespace {

std::string hex_of(std::span<const std::byte> bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string hex;
  for (const std::byte byte : bytes) {
    hex += kDigits[std::to_integer<unsigned>(byte) / 16];
    hex += kDigits[std::to_integer<unsigned>(byte) % 16];
  }
  return hex;
}

TEST(Outliers, AreThoseThatAnotherProgramChooses) {
  const MappedFile file(NIBBLE_SOURCE_DIR "/tests/data/format/outliers.json");
  const auto* const text = reinterpret_cast<const char*>(file.bytes().data());
  const nlohmann::json data = nlohmann::json::parse(text, text + file.bytes().size());
  const std::size_t rows = data["rows"], cols = data["cols"];
  std::vector<float> x;
  for (const int thousandths : data["thousandths"]) x.push_back(static_cast<float>(thousandths / 1000.0));
  ASSERT_EQ(data["cases"].size(), 4u);
  Machine machine(chosen_isa(), 2);
  for (const nlohmann::json& one : data["cases"]) {
    const FormatPtr format = with_kernels(find_format(one["format"].get<std::string>()), machine.isa);
    QuantizedTensor tensor(format, rows, cols);
    make_nearest_rounder()->encode_band(
        *format, {.values = x, .importance = {}, .rows = rows, .cols = cols, .fit = {.rule = FitRule::absmax}}, tensor,
        machine);
    std::string expected;
    for (const nlohmann::json& tile : one["outliers"]) expected += tile.get<std::string>();
    EXPECT_EQ(hex_of(tensor.planes.back()), expected) << format->name();
    const std::vector<float> decoded = tensor.view().decode();
    std::size_t i = 0;
    for (const std::size_t row : {0, 1, 63, 64, 69})
      for (std::size_t col = 0; col < cols; ++col)
        ASSERT_EQ(decoded[row * cols + col], one["decoded"][i++].get<float>())
            << format->name() << " row " << row << " column " << col;
  }
}

std::vector<float> stored_of(const std::string& spelling, std::span<const float> x, std::size_t rows) {
  Machine machine(chosen_isa(), 2);
  const FormatPtr format = with_kernels(find_format(spelling), machine.isa);
  const std::size_t cols = x.size() / rows;
  QuantizedTensor tensor(format, rows, cols);
  make_nearest_rounder()->encode_band(
      *format, {.values = x, .importance = {}, .rows = rows, .cols = cols, .fit = {.rule = FitRule::search}}, tensor,
      machine);
  return tensor.view().decode();
}

double squared_error(std::span<const float> x, std::span<const float> stored) {
  double sum = 0;
  for (std::size_t i = 0; i < x.size(); ++i)
    sum += (static_cast<double>(x[i]) - static_cast<double>(stored[i])) *
           (static_cast<double>(x[i]) - static_cast<double>(stored[i]));
  return sum;
}

// Where several are left out at a time, those that stand out still go.
TEST(Outliers, OfLongRowsAreTheirSpikes) {
  const std::size_t rows = 64, cols = 3000;
  Random random(17);
  std::vector<float> x(rows * cols);
  for (std::size_t i = 0; i < x.size(); ++i)
    x[i] = static_cast<float>((i % 211 == 0 ? (i % 2 == 0 ? 20 : -20) : 1) * (1 + random.uniform()));
  const std::vector<float> stored = stored_of("int4:row:asym+outliers:1%", x, rows);
  for (std::size_t i = 0; i < x.size(); i += 211) EXPECT_NEAR(stored[i], x[i], 0.02F) << i;
  EXPECT_LT(squared_error(x, stored), squared_error(x, stored_of("int4:row:asym", x, rows)) / 100);
}

// An addend is a number of f16: what it does not reach stays on the grid.
TEST(Outliers, LeaveNothingOutThatIsTooLargeForThem) {
  Random random(18);
  std::vector<float> x(64 * 128);
  for (float& value : x) value = static_cast<float>(1e5 * random.normal());
  for (std::size_t i = 5; i < x.size(); i += 331) x[i] = 1e6F;
  EXPECT_LE(squared_error(x, stored_of("int4:g64:f32+outliers:1%", x, 64)),
            squared_error(x, stored_of("int4:g64:f32", x, 64)));
}

SiteStatistics mixed_site(std::size_t cols) {
  Random random(5);
  std::vector<double> moment(cols * cols), x(cols);
  const std::size_t tokens = 4 * cols;
  for (std::size_t t = 0; t < tokens; ++t) {
    const double common = random.normal();
    for (std::size_t i = 0; i < cols; ++i) x[i] = (i % 16 == 0 ? 3 : 1) * (random.normal() + common);
    for (std::size_t i = 0; i < cols; ++i)
      for (std::size_t j = 0; j < cols; ++j) moment[i * cols + j] += x[i] * x[j] / static_cast<double>(tokens);
  }
  SiteStatistics site;
  site.site = "test";
  site.count = tokens;
  for (std::size_t i = 0; i < cols; ++i) site.mean_square.push_back(static_cast<float>(moment[i * cols + i]));
  site.second_moment.assign(moment.begin(), moment.end());
  return site;
}

// Normal numbers, one in a hundred ten times as large.
std::vector<float> spiked_weights(std::size_t rows, std::size_t cols) {
  Random random(7);
  std::vector<float> weights(rows * cols);
  for (float& value : weights) {
    value = static_cast<float>(0.05 * random.normal());
    if (random.uniform() < 0.01) value *= 10;
  }
  return weights;
}

double loss(std::span<const float> weights, std::span<const float> stored, const SiteStatistics& site) {
  const std::size_t cols = site.width();
  double total = 0;
  for (std::size_t row = 0; row < weights.size() / cols; ++row)
    for (std::size_t i = 0; i < cols; ++i)
      for (std::size_t j = 0; j < cols; ++j)
        total += static_cast<double>(weights[row * cols + i] - stored[row * cols + i]) *
                 static_cast<double>(site.second_moment[i * cols + j]) *
                 static_cast<double>(weights[row * cols + j] - stored[row * cols + j]);
  return total;
}

constexpr std::size_t kRows = 100, kCols = 128;

QuantizedTensor round_matrix(const std::string& format, const std::string& method, std::span<const float> weights,
                             const SiteStatistics& site, std::size_t threads) {
  QuantizedTensor source(find_format("f32"), kRows, kCols);
  std::ranges::copy(std::as_bytes(weights), source.planes[0].begin());
  Machine machine(chosen_isa(), threads);
  const LinearTask task{.weights = {.values = source.view(), .name = "test"},
                        .format = find_format(format),
                        .method = find_method(method),
                        .moments = {{.rows = {0, kRows}, .inputs = &site}}};
  return quantize_linear(task, machine);
}

std::size_t count_outliers(const QuantizedTensor& tensor) {
  const auto& format = dynamic_cast<const OutlierFormat&>(*tensor.format);
  const OutlierLayout layout = format.layout(tensor.cols);
  const QuantizedView view = tensor.view();
  std::size_t count = 0;
  for (std::uint64_t row = 0; row < tensor.rows; row += kOutlierRows)
    count += layout.end(format.tile(view.row(row)), kOutlierRows - 1);
  return count;
}

class MethodsWithOutliers : public testing::TestWithParam<const char*> {};

TEST_P(MethodsWithOutliers, LoseLessAndFillTheirShare) {
  const std::vector<float> weights = spiked_weights(kRows, kCols);
  const SiteStatistics site = mixed_site(kCols);
  for (const std::string format : {"int3:g32", "int2:g64:half", "int4:g32:asym", "binary:row"}) {
    const QuantizedTensor plain = round_matrix(format, GetParam(), weights, site, 1),
                          beside = round_matrix(format + "+outliers:1%", GetParam(), weights, site, 1);
    EXPECT_LT(loss(weights, beside.view().decode(), site), 0.8 * loss(weights, plain.view().decode(), site)) << format;
    EXPECT_EQ(count_outliers(beside), 82u + 46u) << format;
    for (std::uint64_t row = 0; row < kRows; ++row)
      EXPECT_FALSE(beside.format->find_defect(beside.view().row(row), kCols)) << format << " row " << row;
    EXPECT_EQ(round_matrix(format + "+outliers:1%", GetParam(), weights, site, 3).planes, beside.planes) << format;
  }
}

INSTANTIATE_TEST_SUITE_P(Methods, MethodsWithOutliers, testing::Values("rtn", "mse", "imatrix", "gptq", "descent"));

// Half of the weights: what is lost with them is made good by the others.
TEST(SparseWeights, FeedbackMakesZerosGood) {
  const std::vector<float> weights = spiked_weights(kRows, kCols);
  const SiteStatistics site = mixed_site(kCols);
  for (const std::string format : {"f16+sparse:2:4", "int4:g32+sparse:2:4", "f16+sparse:50%", "int4:g32+sparse:50%"}) {
    const auto lost = [&](const char* method) {
      return loss(weights, round_matrix(format, method, weights, site, 1).view().decode(), site);
    };
    const double nearest = lost("rtn"), feedback = lost("gptq");
    EXPECT_LT(feedback, 0.8 * nearest) << format;
    EXPECT_LT(lost("descent"), 1.001 * feedback) << format;
    const QuantizedTensor tensor = round_matrix(format, "gptq", weights, site, 1);
    for (std::uint64_t row = 0; row < kRows; ++row)
      EXPECT_FALSE(tensor.format->find_defect(tensor.view().row(row), kCols)) << format << " row " << row;
    EXPECT_EQ(round_matrix(format, "gptq", weights, site, 3).planes, tensor.planes) << format;
  }
}

TEST(Outliers, DescentGoesOnFromFeedback) {
  const std::vector<float> weights = spiked_weights(kRows, kCols);
  const SiteStatistics site = mixed_site(kCols);
  const auto lost = [&](const char* method) {
    return loss(weights, round_matrix("int3:g32+outliers:1%", method, weights, site, 1).view().decode(), site);
  };
  const double nearest = lost("mse"), feedback = lost("gptq");
  EXPECT_LT(feedback, 0.8 * nearest);
  EXPECT_LT(lost("descent"), feedback);
}

}  // namespace
}  // namespace nibble
