// SPDX-License-Identifier: Apache-2.0
//
// One table of a small net: what formats cost it and bring it, on the same samples in one run.
//
//   const NetComparison made = compare_net("net.onnx", {}, {.samples = {"digits.npy"}, .labels = "labels.txt"},
//   machine);
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "kernels/machine.h"
#include "nibble/progress.h"
#include "pipeline/net/judge_net.h"

namespace nibble {

// What a net's products can be stored and computed as. half: f16. integer: values of 8 bits, too. four: int4, chosen by
// what layers see. ternary: -1, 0, 1 times a scale by channel (Li et al., Ternary Weight Networks, arXiv:1605.04711);
// binary: -1, 1 (Rastegari et al., XNOR-Net, arXiv:1603.05279, section 3.1); both rounded as they are, not trained.
enum class NetFormat { single, half, integer, four, ternary, binary };
std::string_view net_format_name(NetFormat format);

struct NetComparisonRow {
  NetFormat format = NetFormat::single;
  std::uint64_t weight_bytes = 0;  // scales and what stays in f32 counted
  NetVerdict verdict;              // against f32
  double seconds = 0;              // of a run, median; 0: as f32, which it is computed in
};

struct NetComparison {
  std::size_t calibrated = 0, judged = 0;  // samples: every other one
  std::vector<NetComparisonRow> rows;
};

// Error(unusable_input): fewer than two samples. Otherwise as judge_net and quantize_net.
NetComparison compare_net(const std::filesystem::path& path, NetOptions options, const NetJudgeRequest& request,
                          const ProgressCallback& progress, Machine& machine);

}  // namespace nibble
