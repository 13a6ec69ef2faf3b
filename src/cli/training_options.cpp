// SPDX-License-Identifier: Apache-2.0
#include "cli/training_options.h"

#include "cli/option_checks.h"
#include "nibble/error.h"

namespace nibble::cli {

namespace {

constexpr std::uint64_t kMostSteps = 1'000'000'000;

}  // namespace

void add_steps(CLI::App& verb, std::uint64_t& steps, BatchSettings& batch) {
  verb.add_option("--steps", steps, "Steps")->check(count_within(1, kMostSteps))->capture_default_str();
  verb.add_option("-b,--batch", batch.size, "Rows of a batch")->check(count_within(1, 65536))->capture_default_str();
  verb.add_option("-l,--length", batch.length, "Tokens of a row")
      ->check(count_within(1, kMostTokens))
      ->capture_default_str();
}

void add_fall(CLI::App& verb, std::string& fall, double& warm_up) {
  verb.add_option("--fall", fall, "How the rate falls: constant, linear or cosine")
      ->check(CLI::IsMember({"constant", "linear", "cosine"}))
      ->capture_default_str();
  verb.add_option("--warm-up", warm_up, "Share of the steps in which the rate rises")
      ->check(number_within(0, 1))
      ->capture_default_str();
}

void add_held_out(CLI::App& verb, std::vector<std::string>& validation, double& held_out) {
  verb.add_option("--validation", validation, "Text to judge by (default: the end of --text)");
  verb.add_option("--held-out", held_out, "Share of --text that is kept to judge by")
      ->check(number_within(0, 0.5))
      ->capture_default_str();
}

void add_save_every(CLI::App& verb, std::uint64_t& steps) {
  verb.add_option("--save-every", steps, "Steps between two savings of the state")
      ->check(count_within(1, kMostSteps))
      ->capture_default_str();
}

void add_arithmetic(CLI::App& verb, std::string& name) {
  verb.add_option("--arithmetic", name, "auto, f32 or bf16: what factors are multiplied as")
      ->check(CLI::IsMember({"auto", "f32", "bf16"}))
      ->capture_default_str();
}

ProductArithmetic arithmetic_of(const std::string& name, Isa isa) {
  if (name == "auto") return fastest_products(isa);
  if (name == "f32") return ProductArithmetic::f32;
  if (!multiplies_bf16(isa))
    throw Error(ErrorKind::unsupported, "this processor has no products of bf16 numbers; take --arithmetic f32");
  return ProductArithmetic::bf16;
}

std::string joined_texts(const std::vector<std::string>& paths, const std::string& separator, Session& session) {
  std::string whole;
  for (const std::string& path : paths) {
    if (!whole.empty()) whole += separator;
    whole += session.read_corpus(path);
  }
  return whole;
}

}  // namespace nibble::cli
