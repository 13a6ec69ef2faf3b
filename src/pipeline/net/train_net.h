// SPDX-License-Identifier: Apache-2.0
//
// A small net trained on examples, from nothing or going on from its weights, its products' weights rounded meanwhile
// where that is asked for, and written as nets are. While it runs its state lies beside the output; a run that was
// killed goes on there, and ends in the same bytes. One caller at a time.
//
//   TrainNetRequest request{.net = "digits.onnx", .data = {.samples = {"x.npy"}, .labels = "y.npy"}};
//   request.quantize = "ternary";
//   request.outputs = arrange_net_outputs({}, "digits2.onnx");
//   const TrainNetSummary summary = train_net(request, machine);
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "nibble/progress.h"
#include "pipeline/net/judge_net.h"
#include "pipeline/net/net_output.h"
#include "train/net/net_trainer.h"

namespace nibble {

struct TrainNetRequest {
  std::filesystem::path net;
  NetOptions options = {};
  NetJudgeRequest data = {};           // examples, and their labels
  double held_out = 0.1;               // the share of examples, evenly, that judges
  bool is_anew = false;                // weights are drawn at random; else the run goes on from the file's
  std::filesystem::path teacher = {};  // whose decisions are learnt; without labels and this, the net's own as it was
  // int8, int4, int2, ternary or binary, by row: what weights of products are rounded to while they are trained. Empty:
  // they are not.
  std::string quantize = {};
  std::string ends = {};  // of the first and the last product; empty: int8 beside fewer than 3 bits, else as the others
  bool takes_signs = false;  // products between these read signs, behind a norm
  std::string estimator = {};
  NetTrainerSettings settings = {};
  std::uint64_t save_every = 200;  // steps
  std::vector<NetOutput> outputs = {{}};
  ProgressCallback progress = {};                          // stage "train", in steps
  std::function<void(const std::string& note)> note = {};  // what is worth knowing and no error
};

struct TrainNetSummary {
  std::uint64_t parameters = 0, examples = 0, held_out = 0, steps = 0, resumed_at = 0;
  std::vector<double> losses;            // means of passes
  std::vector<NetJudgement> judgements;  // the first: of what it begins with, rounded
  std::optional<NetJudgement> kept;      // behind pass 0: what it begins with, since no pass decided better
  std::optional<NetVerdict> written;     // what was written, beside the net as it was, on held-out examples
  struct RoundedPart {
    std::string name, format;
    std::uint64_t numbers = 0;
    bool reads_signs = false;
  };
  std::vector<RoundedPart> parts;
  struct File {
    NetOutput output;
    std::uint64_t bytes = 0;
  };
  std::vector<File> files;
  std::uint64_t source_bytes = 0;
  double seconds = 0;
};

// Error(unsupported): operations that are not walked backwards, or that an output has no words for, formats that nets
// are not trained in; Error(invalid_argument): weights of few bits in a container that has none;
// Error(unusable_input): examples and labels that do not fit.
TrainNetSummary train_net(const TrainNetRequest& request, Machine& machine);

}  // namespace nibble
