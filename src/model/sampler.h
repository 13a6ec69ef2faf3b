// SPDX-License-Identifier: Apache-2.0
//
// Chooses the next token from logits. Deterministic: the same logits, options and seed give the same tokens. One
// Sampler serves one sequence at a time.
//
//   Sampler sampler({.temperature = 0.8, .top_p = 0.95, .seed = 7});
//   std::int32_t next = sampler.choose(logits, history);
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/random.h"
#include "nibble/generate.h"

namespace nibble {

class Sampler {
 public:
  // Error(invalid_argument) names the option that is out of its range.
  explicit Sampler(const SamplerOptions& options);

  // logits: [vocab_size], left as they are. history: the sequence so far. Error(corrupt) when the largest logit is not
  // finite.
  std::int32_t choose(std::span<const float> logits, std::span<const std::int32_t> history);

 private:
  struct Candidate {
    float logit;
    std::int32_t id;
  };
  void penalise(std::span<const std::int32_t> history);
  void keep_largest();
  void keep_probable();

  SamplerOptions options_;
  Random random_;
  std::vector<float> logits_;
  std::vector<Candidate> candidates_;  // sorted by falling logit, then rising id
  std::vector<double> probabilities_;  // of candidates_, not normalised
};

}  // namespace nibble
