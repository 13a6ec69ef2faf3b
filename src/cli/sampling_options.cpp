// SPDX-License-Identifier: Apache-2.0
#include "cli/sampling_options.h"

#include "cli/option_checks.h"
#include "model/sampler.h"

namespace nibble::cli {

void add_sampler(CLI::App& verb, SamplerOptions& sampler) {
  verb.add_option("--temperature", sampler.temperature, "0: always the most probable token")
      ->check(number_within(0, 1000))
      ->capture_default_str();
  verb.add_option("--top-k", sampler.top_k, "Choose among the k most probable (0: all)")
      ->check(count_within(0, std::uint64_t{1} << 31))
      ->capture_default_str();
  verb.add_option("--top-p", sampler.top_p, "Choose among the fewest tokens that reach this probability")
      ->check(number_within(0, 1))
      ->capture_default_str();
  verb.add_option("--min-p", sampler.min_p, "Drop tokens below this share of the most probable")
      ->check(number_within(0, 1))
      ->capture_default_str();
  verb.add_option("--repetition-penalty", sampler.repetition_penalty, "Above 1: discourage tokens seen lately")
      ->check(number_within(0.01, 100))
      ->capture_default_str();
}

void add_sampling(CLI::App& verb, GenerateOptions& options) {
  add_sampler(verb, options.sampler);
  verb.add_option("--seed", options.sampler.seed, "Seed of the random choice")->capture_default_str();
  verb.add_option("--stop", options.stop, "Stop before this text (may be given several times)");
}

void judge_sampling(const CLI::App& verb, const GenerateOptions& options) {
  for (const char* const option : {"--seed", "--top-k", "--top-p", "--min-p"})
    refuse_without_effect(verb, option, options.sampler.temperature > 0,
                          "at temperature 0 (--temperature), where the most probable token is taken");
  Sampler judged(options.sampler);
}

const char* stop_reason_name(StopReason reason) {
  switch (reason) {
    case StopReason::end_token:
      return "end";
    case StopReason::stop_text:
      return "stop";
    case StopReason::max_tokens:
      return "length";
    case StopReason::context_full:
      return "context";
    case StopReason::caller:
      return "interrupted";
  }
  return "";
}

double token_rate(std::size_t tokens, double seconds) {
  return seconds > 1e-6 ? static_cast<double>(tokens) / seconds : 0;
}

}  // namespace nibble::cli
