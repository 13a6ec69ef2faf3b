// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>

#include "nibble/error.h"
#include "pipeline/api/model_state.h"
#include "pipeline/quantize/calibrate_model.h"

namespace nibble {
namespace {

CalibrationStatistics share(Statistics numbers) {
  return CalibrationStatistics(
      std::make_shared<const CalibrationStatistics::State>(CalibrationStatistics::State{std::move(numbers)}));
}

const Statistics& numbers_of(const CalibrationStatistics& statistics) {
  if (statistics.empty())
    throw Error(ErrorKind::invalid_argument, "there are no statistics; make them with calibrate or load_statistics");
  return statistics.state()->numbers;
}

}  // namespace

const std::vector<std::string>& CalibrationStatistics::texts() const { return numbers_of(*this).texts; }
std::uint64_t CalibrationStatistics::samples() const { return numbers_of(*this).samples; }
std::uint64_t CalibrationStatistics::length() const { return numbers_of(*this).length; }

std::vector<std::string> CalibrationStatistics::sites() const {
  std::vector<std::string> names;
  for (const SiteStatistics& site : numbers_of(*this).sites) names.push_back(site.name());
  return names;
}

bool CalibrationStatistics::has_second_moments() const {
  return std::ranges::any_of(numbers_of(*this).sites, &SiteStatistics::has_second_moment);
}

const std::vector<float>& CalibrationStatistics::mean_squares(std::string_view site) const {
  for (const SiteStatistics& known : numbers_of(*this).sites)
    if (known.name() == site) return known.mean_square;
  throw Error(ErrorKind::not_found, fmt::format("the statistics have no site '{}'; sites() lists them", site));
}

Calibrated calibrate(const Model& model, const std::vector<NamedText>& texts, const CalibrateRequest& request) {
  Machine machine = api::make_machine(request.machine);
  CalibrateOptions options{.sampling = request.sampling};
  options.collect.kernels = api::kernels_of({});
  options.collect.arithmetic = request.arithmetic;
  options.collect.second_moments = request.second_moments;
  options.collect.spill_directory = request.spill_directory;
  options.collect.progress = request.progress;
  CalibrationResult result = calibrate_model(model.state().checkpoint, api::calibration_texts(texts), options, machine);
  return {share(std::move(result.statistics)), std::move(result.adequacy), std::move(result.warnings)};
}

void save_statistics(const CalibrationStatistics& statistics, const Model& model, const std::filesystem::path& path) {
  save_statistics(numbers_of(statistics), model.state().checkpoint, path);
}

CalibrationStatistics load_statistics(const std::filesystem::path& path, const Model& model) {
  return share(load_statistics(path, model.state().checkpoint));
}

}  // namespace nibble
