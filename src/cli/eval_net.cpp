// SPDX-License-Identifier: Apache-2.0
#include "cli/eval_net.h"

#include <algorithm>
#include <array>

#include "cli/option_checks.h"
#include "cli/places.h"
#include "nibble/error.h"
#include "pipeline/net/detections.h"
#include "report/net_verdict_report.h"

namespace nibble::cli {

void add_net_eval_options(CLI::App& verb, NetEvalArguments& arguments) {
  verb.add_option(
          "--data", arguments.data,
          "Of nets (.onnx, .tflite): samples of their inputs, FILE.npy, NAME=FILE.npy, FILE.npz, a directory of "
          "these or of ONNX's test data; may be given more than once")
      ->allow_extra_args(false);
  verb.add_option("--labels", arguments.labels,
                  "Of nets: the right class of each sample, .npy or text with a whole number a line");
  add_net_shape_options(verb, arguments.net);
}

void add_detection_options(CLI::App& verb, NetEvalArguments& arguments) {
  verb.add_option("--detections", arguments.detections,
                  "Of nets that find boxes, whose two outputs are scores [candidates, kinds] and places [candidates, "
                  "4]: corners (x, y, x, y) or centers (x, y, width, height)")
      ->check(CLI::IsMember({"corners", "centers"}));
  verb.add_option("--truth", arguments.truth,
                  "With --detections: the boxes that are right, .npy [boxes, 6] of sample (from 0), kind, x, y, x, y");
  verb.add_flag("--no-background", arguments.has_no_background,
                "With --detections: kind 0 is one of those that are found (default: it is nothing)");
}

void refuse_net_eval_options(const CLI::App& verb) {
  for (const char* const option : {"--data", "--labels", "--shape", "--constant"})
    refuse_without_effect(verb, option, false, "of models other than nets (.onnx, .tflite)");
}

void eval_net(const CLI::App& verb, const std::vector<std::string>& nets, const std::string& against, bool layers,
              const NetEvalArguments& arguments, Session& session) {
  constexpr std::array kOfNets = {"models",       "--against",  "--data",         "--labels",  "--layers",
                                  "--shape",      "--constant", "--json",         "--threads", "--help",
                                  "--detections", "--truth",    "--no-background"};
  for (const CLI::Option* const option : verb.get_options())
    if (const std::string name = option->get_name(); std::ranges::find(kOfNets, name) == kOfNets.end())
      refuse_without_effect(verb, name, false, "of nets");
  const auto refuse = [](const char* why) { throw Error(ErrorKind::invalid_argument, why); };
  if (nets.size() != 1) refuse("one net is judged at a time");
  if (against.empty()) refuse("a net is judged against the one that it was made from: add --against ORIGINAL.onnx");
  if (!is_net(against)) refuse("a net is judged against a net (.onnx, .tflite)");
  if (arguments.data.empty()) refuse("a net is judged on samples of its inputs: add --data DATA");
  Places places;
  places.reads("a net", nets[0]);
  places.reads("--against", against);
  places.reads("--labels", arguments.labels);
  places.reads("--truth", arguments.truth);
  places.judge();
  const bool detects = !arguments.detections.empty();
  for (const char* const option : {"--truth", "--no-background"})
    refuse_without_effect(verb, option, detects, "without --detections");
  if (detects) {
    for (const char* const option : {"--labels", "--layers"})
      refuse_without_effect(verb, option, false, "beside --detections");
    DetectionJudgeRequest request{.samples = arguments.data, .truth = arguments.truth, .rule = {}};
    request.rule.has_centers = arguments.detections == "centers";
    request.rule.has_background = !arguments.has_no_background;
    const DetectionVerdict verdict =
        judge_detections(nets[0], against, net_options(arguments.net), request, session.machine());
    return session.json() ? session.print_json(to_json(verdict)) : session.print(detection_verdict_text(verdict));
  }
  const NetVerdict verdict = judge_net(nets[0], against, net_options(arguments.net),
                                       {.samples = arguments.data, .labels = arguments.labels}, session.machine());
  if (session.json()) return session.print_json(to_json(verdict));
  session.print(net_verdict_text(verdict));
  if (layers) session.print("\n" + net_distances_table(verdict).text(session.style()));
}

}  // namespace nibble::cli
