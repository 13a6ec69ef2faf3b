// SPDX-License-Identifier: Apache-2.0
//
// Tiny nets against ONNX Runtime: as they are read, and written again by the spellings of their operations.
#include <set>

#include "io/onnx/onnx_model.h"
#include "net/onnx/onnx_export.h"
#include "net/onnx/onnx_net.h"
#include "net/tiny_nets.h"
#include "nibble/error.h"

namespace nibble {
namespace {

class TinyNet : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (!has_onnx()) GTEST_SKIP() << kOnnxMissing;
  }
  static std::filesystem::path path() { return tiny_net(std::string(GetParam()) + ".onnx"); }
};

TEST_P(TinyNet, MakesWhatOnnxRuntimeMakes) {
  const Net net = open_net(path(), {});
  ThreadPool pool(3);
  const auto arrays = tiny_arrays(GetParam());
  const auto made = run_tiny(net, arrays, &pool);
  expect_outputs(net, made, arrays);
  EXPECT_EQ(run_tiny(net, arrays, nullptr), made);  // the same bits on any number of threads
}

TEST_P(TinyNet, MakesTheSameSimplified) {
  const Net net = open_net(path(), {.simplifies = true});
  const auto arrays = tiny_arrays(GetParam());
  expect_outputs(net, run_tiny(net, arrays, nullptr), arrays);
}

// Where ONNX can say all of it; what it cannot is named.
TEST_P(TinyNet, IsTheSameNetWrittenAndReadAgain) {
  const Net net = open_net(path(), {});
  const std::set<std::string> refused = {"quantized_operators", "resized"};
  if (refused.contains(GetParam())) {
    EXPECT_THROW(spell_onnx(net), Error);
    return;
  }
  const std::string bytes = serialize_onnx(spell_onnx(net));
  const Net again = read_onnx_net(std::as_bytes(std::span(bytes)), "again.onnx", {});
  const auto arrays = tiny_arrays(GetParam());
  expect_outputs(again, run_tiny(again, arrays, nullptr), arrays);
}

INSTANTIATE_TEST_SUITE_P(All, TinyNet,
                         testing::Values("attention", "blocks_of_four_bits", "classifier", "elementwise", "mobile",
                                         "mobile_places", "rows", "quantized_operators", "quantized_pairs", "recurrent",
                                         "resized", "shapes", "transposed", "upsampled"),
                         [](const auto& one) { return std::string(one.param); });

TEST(Nets, AllFilesAreTested) {
  std::size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(tiny_net("")))
    files += entry.path().extension() == ".onnx" ? 1 : 0;
  EXPECT_EQ(files, 14u);
}

// 2 x 4 x 8 x 8 outputs of 27 products, 2 x 4 x 4 x 4 of 4, 2 x 5 of 64.
TEST(Nets, SayWhatTheyCost) {
  if (!has_onnx()) GTEST_SKIP() << kOnnxMissing;
  const Net net = open_net(tiny_net("classifier.onnx"), {});
  std::uint64_t work = 0;
  for (const Node& node : net.graph.nodes)
    if (std::holds_alternative<Convolution>(node.operation) || std::holds_alternative<Linear>(node.operation))
      work += work_of(net.graph, node);
  EXPECT_EQ(work, 2u * 4 * 64 * 27 + 2 * 4 * 16 * 4 + 2 * 5 * 64);
}

TEST(Nets, ABranchIsTakenWhereAConstantDecides) {
  if (!has_onnx()) GTEST_SKIP() << kOnnxMissing;
  const Net net = open_net(tiny_net("shapes.onnx"), {});
  for (const Node& node : net.graph.nodes)
    if (const auto* const unary = std::get_if<Unary>(&node.operation)) {
      EXPECT_NE(unary->kind, Unary::Kind::exponential);
    }
}

}  // namespace
}  // namespace nibble
