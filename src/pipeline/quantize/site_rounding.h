// SPDX-License-Identifier: Apache-2.0
//
// The Linears of one site, or of its experts, rounded as an output's will be, in one format after another, and what
// that does to their outputs on the inputs that the site saw. Nothing is written. Internal to pipeline/; one thread at
// a time, the pool does the work.
//
//   SiteRounding rounding(method, {{&gate, &site}, {&up, &site}}, machine);
//   const Matrix& stored = rounding.keep(0, find_format("q4_k"));      // made once, kept for whoever asks again
//   double lost = rounding.error(1, find_format("q3_k"));              // kept only where somebody keeps it
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "calibrate/layer_walk.h"
#include "format/format.h"
#include "kernels/machine.h"
#include "quantize/method.h"
#include "quantize/quantize_linear.h"
#include "quantize/statistics.h"

namespace nibble {

struct MatrixOfSite {
  const Matrix* matrix = nullptr;
  const SiteStatistics* inputs = nullptr;  // null where the method is told nothing, as of an embedding's
};

class SiteRounding {
 public:
  // All must outlive the rounding.
  SiteRounding(const Method& method, std::vector<MatrixOfSite> matrices, Machine& machine);

  std::size_t count() const { return matrices_.size(); }
  const Matrix& original(std::size_t index) const { return *matrices_[index].matrix; }
  const Matrix& keep(std::size_t index, const FormatPtr& format);
  // The sum over the rows e of original less stored of e H e^T: all rows, since one of them may hold nearly all of it.
  double error(std::size_t index, const FormatPtr& format);

 private:
  Matrix round(const MatrixOfSite& of, const FormatPtr& format);

  const Method& method_;
  std::vector<MatrixOfSite> matrices_;
  Machine& machine_;
  RoundPlans plans_;
  std::map<std::pair<std::size_t, std::string>, Matrix> kept_;  // by matrix and format
  std::map<std::pair<std::size_t, std::string>, double> errors_;
};

}  // namespace nibble
