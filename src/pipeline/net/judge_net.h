// SPDX-License-Identifier: Apache-2.0
//
// A net beside the one that it was made from, on the same samples: decisions, right or wrong, and how far outputs and
// the values of layers are apart.
//
//   const NetVerdict verdict = judge_net("net8.onnx", "net.onnx", {}, {.samples = {"digits.npy"}}, machine);
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "kernels/machine.h"
#include "net/net.h"
#include "net/quantize/sample_walk.h"

namespace nibble {

struct NetJudgeRequest {
  std::vector<std::string> samples = {};  // places (pipeline/net/net_samples.h)
  std::string labels = {};                // .npy of whole numbers, or text with one a line; empty: none
  std::size_t most_samples = 0;           // 0: all
};

// Of `count` decisions; low, high: 95 % (Clopper and Pearson).
struct CountedShare {
  std::uint64_t count = 0, hits = 0;
  double value = 0, low = 0, high = 0;
};
CountedShare counted_share(std::uint64_t hits, std::uint64_t count);

// By labels.
struct NetAccuracy {
  CountedShare top1, top5;
};

struct NetDistance {
  std::string name, operation;
  double noise = 0;  // the power of the difference over that of the original's
};

struct NetVerdict {
  std::uint64_t samples = 0;
  std::optional<NetAccuracy> original, candidate;
  // Where labels are 0 and 1 and the first output has one or two numbers, or says the only input again (then what it
  // fails by is the score): how well they are told apart (score_ranks.h).
  std::optional<double> original_auc, candidate_auc;
  // Of nets that say their input again: whether errors order samples as the original's do, by Spearman.
  std::optional<double> error_rank_correlation;
  std::uint64_t to_wrong = 0, to_right = 0;  // decisions that the labels judge otherwise than the original's
  double mcnemar_p = 1;
  CountedShare agreement;            // rows of the first output that decide alike
  std::vector<NetDistance> outputs;  // by name
  std::vector<NetDistance> layers;   // values that both files call alike, in order; the candidate's operation
};

struct OpenedPair {
  Net candidate, original;
};
// options: of the original; of the candidate, too, where it has such inputs. Error(unusable_input): inputs or outputs
// that are not the same.
OpenedPair open_pair(const std::filesystem::path& candidate, const std::filesystem::path& original,
                     const NetOptions& options);

// options: of the original; of the candidate, too, where it has such inputs. Error(unusable_input): inputs or outputs
// that are not the same, labels of another number than samples.
NetVerdict judge_net(const std::filesystem::path& candidate, const std::filesystem::path& original,
                     const NetOptions& options, const NetJudgeRequest& request, Machine& machine);

// Of nets with the same inputs and outputs. labels: of each sample, or none.
NetVerdict judge_net(const Net& net, const Net& reference, std::span<const NetSample> samples,
                     std::span<const std::int64_t> labels, Machine& machine);

// A label for each sample; of one output, which is on one side of 1/2, two classes. Error(unusable_input): others.
std::vector<std::int64_t> read_labels(const std::string& path, const Net& net, std::size_t count);

}  // namespace nibble
