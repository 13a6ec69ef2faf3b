// SPDX-License-Identifier: Apache-2.0
#include "train/estimator/estimator.h"

#include <array>

#include "nibble/error.h"

namespace nibble {

std::span<const Estimator* const> list_estimators() {
  static const std::array all = {&lsq_estimator(), &seq_estimator(), &absmean_estimator(),
                                 &twn_estimator(), &ttq_estimator(), &bwn_estimator()};
  return all;
}

const Estimator& find_estimator(std::string_view name) {
  std::string known;
  for (const Estimator* const estimator : list_estimators()) {
    if (estimator->name() == name) return *estimator;
    known += (known.empty() ? "" : ", ") + std::string(estimator->name());
  }
  throw Error(ErrorKind::invalid_argument, "no estimator has this name; there are " + known + ": " + std::string(name),
              "estimator");
}

const Estimator& default_estimator(const CodePoints& points) {
  if (points.are_learned()) return ttq_estimator();
  return points.points.size() > 2 && points.points.size() <= 4 && points.step != 0 ? seq_estimator() : lsq_estimator();
}

}  // namespace nibble
