// SPDX-License-Identifier: Apache-2.0
#include "pipeline/quantize/ranks.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "nibble/error.h"
#include "nibble/model.h"
#include "pipeline/quantize/activation_plan.h"
#include "pipeline/quantize/layer_learner.h"
#include "quantize/transform/transform.h"

namespace nibble {
namespace {

// What of two keys differs, in words.
std::string difference_of(const nlohmann::json& first, const nlohmann::json& other) {
  if (first["nibble"] != other["nibble"])
    return fmt::format("version {}, not {}", other["nibble"].dump(), first["nibble"].dump());
  if (first["source"] != other["source"]) return "another model (its tensors hash to something else)";
  if (first["options"]["calibration"] != other["options"]["calibration"])
    return "another calibration text, other statistics or another way to take windows of them";
  for (const auto& [name, value] : first["options"].items())
    if (other["options"].value(name, nlohmann::json()) != value) return fmt::format("another option: {}", name);
  return "another container";
}

}  // namespace

void require_work_for_ranks(const QuantizePlan& plan, const QuantizeModelOptions& options) {
  const auto refuse = [](const std::string& what, const char* setting) {
    throw Error(ErrorKind::invalid_argument, what + " by one process only", setting);
  };
  if (options.calibration.hessian.is_guided()) refuse("moments that weigh tokens by gradients are made", "hessian");
  for (const TensorPlan& tensor : plan.tensors)
    if (learns(tensor, options)) refuse("methods that learn layer by layer work", "");
  if (!options.transform.empty() && find_transform(options.transform).folds())
    refuse("rotations go into the weights", "transform");
  if (fits_grids_afterwards(plan, options))
    refuse("static grids behind scales that move into the weights are fitted", "transform");
}

void require_same_work(Transport& ranks, const std::string& key, const std::string& source_hash) {
  const auto parse = [](const Bytes& bytes) {
    return nlohmann::json::parse(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
  };
  nlohmann::json own = nlohmann::json::parse(key);
  own["source"] = source_hash;
  const std::string text = own.dump();
  const std::vector<Bytes> all = ranks.all_gather(std::as_bytes(std::span(text)), "what every rank is to do");
  const nlohmann::json first = parse(all.front());
  for (std::size_t rank = 1; rank < all.size(); ++rank)
    if (all[rank] != all.front())
      throw Error(ErrorKind::invalid_argument,
                  fmt::format("{} has {}; all ranks are given the same", ranks.name_of(rank),
                              difference_of(first, parse(all[rank]))));
}

}  // namespace nibble
