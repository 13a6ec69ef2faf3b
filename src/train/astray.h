// SPDX-License-Identifier: Apache-2.0
//
// Whether a run of training has gone astray though all its numbers are numbers: it no longer knows what it has known.
// Losses are compared with earlier ones of the same text, never with another's.
//
//   if (const std::string why = astray_where_judged({guessing, trainer.curve(), trainer.validations()}); !why.empty())
#pragma once

#include <string>
#include <vector>

#include "train/held_out_judge.h"

namespace nibble {

struct CourseOfLosses {
  double guessing = 0;              // nats: the logarithm of the vocabulary
  std::vector<LossPoint> training;  // each the mean of the steps since the one before
  std::vector<LossPoint> held_out;  // the last of them is of now; step 0: of what the run began with
};

// With the figures that tell; empty: it is not. A loss is lost where it has come halfway back from its least to what
// guessing costs; where it was never less than most of that, where it is far above it. Held-out text and what is learnt
// from since the judgement before must both have come to that: held-out text alone loses where the other is learnt by
// heart.
std::string astray_where_judged(const CourseOfLosses& course);

// By the text alone that is learnt from: the mean of the last quarter of the run beside the least of quarters before.
// Empty, too, where quarters are so short that a mean of them says little.
std::string astray_by_training(const CourseOfLosses& course);

}  // namespace nibble
