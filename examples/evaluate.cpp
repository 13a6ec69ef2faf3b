// SPDX-License-Identifier: Apache-2.0
//
// nibble/evaluate.h: what quantization cost, with intervals, and whether that is little enough.
//
//   evaluate ORIGINAL TEXT CANDIDATE...
#include <nibble/evaluate.h>

#include <fstream>
#include <iostream>
#include <iterator>

namespace {

std::string read_file(const char* path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void show(nibble::Metric metric, const nibble::Figure& figure) {
  std::cout << "  " << nibble::describe_metric(metric).title << ": " << figure.value;
  if (figure.certainty == nibble::Certainty::interval) std::cout << " [" << figure.low << ", " << figure.high << ']';
  std::cout << '\n';
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) return 2;
  const nibble::Model original = nibble::open_model(argv[1]);
  std::vector<nibble::NamedModel> candidates;
  for (int i = 3; i < argc; ++i) candidates.push_back({argv[i], nibble::open_model(argv[i])});

  // Intervals need 30 windows or more; windows are as llama.cpp cuts them unless the request says otherwise.
  nibble::EvaluateRequest request;
  request.context = 128;
  request.max_windows = 32;
  const nibble::PairedVerdict verdict =
      nibble::evaluate_against(candidates, original, {{"text", read_file(argv[2])}}, request);

  std::cout << "original: perplexity " << verdict.original_perplexity.value << " over " << verdict.tokens_scored
            << " tokens\n";
  bool all_accepted = true;
  for (std::size_t i = 0; i < verdict.candidates.size(); ++i) {
    const nibble::CandidateVerdict& candidate = verdict.candidates[i];
    std::cout << candidate.name << '\n';
    for (const nibble::Metric metric :
         {nibble::Metric::perplexity_ratio, nibble::Metric::kl_mean, nibble::Metric::top1_agreement})
      show(metric, candidate.overall[metric]);

    // Judged by the bounds of the figures and not by the figures: too little text leaves it undecided.
    const nibble::Acceptance acceptance =
        nibble::judge_acceptance(verdict, i, {{.metric = nibble::Metric::kl_mean, .value = 0.5}});
    all_accepted = all_accepted && acceptance.judgement == nibble::Judgement::accepted;
  }
  return all_accepted ? 0 : 1;
}
