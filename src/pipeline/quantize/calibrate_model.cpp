// SPDX-License-Identifier: Apache-2.0
#include "pipeline/quantize/calibrate_model.h"

#include <fmt/format.h>

#include "calibrate/imatrix_file.h"
#include "calibrate/statistics_file.h"
#include "model/arch/architecture.h"
#include "model/config.h"
#include "nibble/error.h"

namespace nibble {
namespace {

std::vector<std::string> warnings_of(const CalibrationTokens& tokens, const std::vector<SiteAdequacy>& adequacy) {
  std::vector<SiteWarning> sites;
  for (const SiteAdequacy& site : adequacy) sites.push_back({site.site, site.warning});
  std::vector<std::string> warnings = warning_lines(sites);
  if (const std::string shortage = shortage_warning(tokens); !shortage.empty())
    warnings.insert(warnings.begin(), shortage);
  return warnings;
}

}  // namespace

CalibrationResult calibrate_model(const SourceModel& checkpoint, std::span<const CalibrationText> texts,
                                  const CalibrateOptions& options, Machine& machine) {
  const Tokenizer& tokenizer = checkpoint.tokenizer();
  const CalibrationTokens tokens = choose_windows(texts, tokenizer, options.sampling, checkpoint.config().context);
  CalibrationResult result;
  result.statistics = collect_statistics(checkpoint, tokens, options.collect, machine);
  checkpoint.require_unchanged();
  result.adequacy = judge_statistics(result.statistics, machine);
  result.warnings = warnings_of(tokens, result.adequacy);
  if (std::string line = experts_warning(expert_tokens(result.statistics)); !line.empty())
    result.warnings.push_back(std::move(line));
  return result;
}

std::uint64_t statistics_bytes(const SourceModel& checkpoint, const CollectOptions& options) {
  const Network& network = checkpoint.parts().network();
  std::uint64_t numbers = 0;
  for (std::int64_t i = 0; i < network.num_layers(); ++i)
    for (const Site& site : network.layer(i).sites)
      numbers += std::max<std::uint64_t>(1, site.experts) *
                 (options.second_moments ? site.width * site.width : 2 * site.width);
  return numbers * sizeof(float);
}

void save_statistics(const Statistics& statistics, const SourceModel& checkpoint, const std::filesystem::path& path) {
  if (!is_imatrix_name(path)) return write_statistics(statistics, path);
  write_imatrix(statistics, checkpoint.parts(), path);
}

Statistics load_statistics(const std::filesystem::path& path, const SourceModel& checkpoint) {
  const ModelTensors& tensors = checkpoint.parts();
  if (statistics_form(path) != StatisticsForm::own) return read_imatrix(path, tensors);
  Statistics statistics = read_statistics(path);
  for (const SiteStatistics& site : statistics.sites)
    for (const ModelTensor* const tensor : tensors_of_site(tensors, site))
      if (tensor->shape.back() != site.width())
        throw Error(ErrorKind::unusable_input,
                    fmt::format("{}: made for another model: site '{}' feeds '{}', which has {} columns, not {}",
                                path.string(), site.name(), tensor->hf_name, tensor->shape.back(), site.width()));
  return statistics;
}

}  // namespace nibble
