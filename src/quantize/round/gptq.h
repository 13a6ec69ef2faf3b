// SPDX-License-Identifier: Apache-2.0
//
// Feedback rounding (error feedback; LDLQ in QuIP's words): each column's rounding error is made good by the columns
// that are rounded after it. GPTQ (Frantar et al. 2022) in every format, vector types by their unit; optionally
// followed by sweeps that visit span after span again, choose its grid anew for what the other spans' errors now ask of
// it, round it by feedback within, and keep the result only where it lowers the loss (block coordinate descent on the
// same loss; for single columns and fixed grids this is QuantEase, Behdin et al. 2023).
#pragma once

#include <memory>

#include "quantize/round/rounder.h"

namespace nibble {

struct GptqOptions {
  double damp_percent = 0.01;  // of the mean diagonal; doubled as often as the factor needs
  bool desc_act = true;  // the most active columns first, with grids fitted beforehand (act-order with static groups)
  int sweeps = 0;        // of block coordinate descent afterwards
};

// After these the loss hardly moves.
inline constexpr int kDescentSweeps = 3;

std::shared_ptr<const Rounder> make_gptq_rounder(const GptqOptions& options);

}  // namespace nibble
