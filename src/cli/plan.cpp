// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include "base/memory.h"
#include "base/quantity.h"
#include "cli/option_checks.h"
#include "cli/verbs.h"
#include "kernels/limits.h"
#include "nibble/error.h"
#include "pipeline/tell/memory_plan.h"
#include "report/memory_plan_report.h"

namespace nibble::cli {
namespace {

struct Options {
  MemoryPlanRequest request;
  std::string memory, headroom, bandwidth, formats;
};

// "60GB/s" or "60GB".
double parse_bandwidth(std::string text) {
  if (text.ends_with("/s")) text.resize(text.size() - 2);
  return static_cast<double>(bytes_of_option(text, "--bandwidth"));
}

void plan(const CLI::App& verb, Options& options, Session& session) {
  refuse_without_effect(verb, "--threads", options.bandwidth.empty(),
                        "beside --bandwidth, which leaves nothing to be measured");
  MemoryPlanRequest& request = options.request;
  request.memory = options.memory.empty() ? available_memory() : bytes_of_option(options.memory, "--memory");
  if (!options.headroom.empty())
    request.headroom = options.headroom == "0" ? 0 : bytes_of_option(options.headroom, "--headroom");
  if (!options.formats.empty()) request.formats = split_list(options.formats);
  plan_memory(request);  // what is wrong with the command shows before anything is measured
  request.bandwidth =
      options.bandwidth.empty() ? measure_read_stream(session.machine()) : parse_bandwidth(options.bandwidth);
  const MemoryPlan result = plan_memory(request);
  for (const std::string& note : result.notes) session.note("note: " + note);
  if (session.json()) return session.print_json(to_json(result));
  session.print(memory_plan_text(result, session.style()));
}

}  // namespace

void add_plan(CLI::App& app, Session& session) {
  const auto options = std::make_shared<Options>();
  CLI::App* const verb =
      app.add_subcommand("plan", "What fits into a memory: weights and KV cache by format, and how fast it can decode");
  verb->footer(
      "Examples:\n"
      "  nibble plan 70B --memory 24GB                      a size: the shape of the nearest known model is taken\n"
      "  nibble plan llama-3.1-8b --memory 8GiB --context 32768 --bandwidth 60GB/s\n"
      "  nibble plan models/fable-5M                         a model: exact; what this machine has to spare\n\n"
      "GB are powers of 1000, GiB of 1024. The bandwidth is measured unless it is given; a graphics card's is on its "
      "data sheet.");
  verb->add_option("model", options->request.model,
                   "A size (70B), a shape ('nibble synth --help' lists them), a directory or file")
      ->required();
  verb->add_option("--memory", options->memory,
                   "Memory for everything, as 24GB or 24GiB (default: what this machine has to spare)");
  verb->add_option("--context", options->request.context,
                   "Tokens in the KV cache (default: 8192, or the model's own where that is shorter)")
      ->check(count_within(1, kMostTokens));
  verb->add_option("--bandwidth", options->bandwidth,
                   "Bytes a second that the memory reads, as 60GB/s (default: measured here)");
  verb->add_option("--headroom", options->headroom, "Memory left to everything else (default: 5 %, at least 256 MB)");
  verb->add_option("-f,--formats", options->formats, "Comma-separated formats (default: the usual ones)");
  session.add_json(*verb);
  session.add_threads(*verb);
  verb->callback([options, verb, &session] { plan(*verb, *options, session); });
}

}  // namespace nibble::cli
