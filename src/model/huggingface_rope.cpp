// SPDX-License-Identifier: Apache-2.0
//
// Rotary positions in config.json: beside the other keys, or in a group of their own, which newer writers nest by kind
// of layer.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "model/config_readers.h"
#include "model/huggingface_fields.h"
#include "model/known_family.h"
#include "nibble/error.h"

namespace nibble {

namespace {

using Json = nlohmann::ordered_json;
using Fields = HuggingFaceFields;

std::vector<float> read_factors(const Fields& fields, const char* key, std::size_t count) {
  const Json* const list = fields.find(key);
  const bool is_list = list != nullptr && list->is_array() && list->size() == count &&
                       std::ranges::all_of(*list, [](const Json& v) { return v.is_number(); });
  if (!is_list) fields.wrong(key, fmt::format("a list of {} numbers", count).c_str(), list == nullptr ? Json() : *list);
  std::vector<float> factors;
  for (const Json& value : *list) factors.push_back(static_cast<float>(value.get<double>()));
  return factors;
}

// The length that a model was first trained with: in the rotary group, or beside it.
constexpr const char* kOriginalContext = "original_max_position_embeddings";

// Divisors for sequences up to the length that the model was first trained with, and for longer ones.
// rope.original_context: that length, where the file says it beside the group.
RopeConfig read_longrope(const Fields& fields, RopeConfig rope, std::uint64_t context) {
  rope.scaling = RopeScaling::longrope;
  rope.original_context = fields.integer(kOriginalContext, rope.original_context);
  rope.short_factors = read_factors(fields, "short_factor", rope.rotary_dim / 2);
  rope.long_factors = read_factors(fields, "long_factor", rope.rotary_dim / 2);
  if (rope.original_context == 0) fields.wrong(kOriginalContext, "at least 1", 0);
  const double factor =
      fields.number("factor", static_cast<double>(context) / static_cast<double>(rope.original_context));
  rope.magnitude = static_cast<float>(
      fields.number("attention_factor", static_cast<double>(longrope_magnitude(factor, rope.original_context))));
  return rope;
}

// factor: of the context lengths, where none is given.
RopeConfig read_yarn(const Fields& fields, RopeConfig rope, std::uint64_t context) {
  rope.scaling = RopeScaling::yarn;
  rope.original_context = fields.integer(kOriginalContext, rope.original_context);
  if (rope.original_context == 0) fields.wrong(kOriginalContext, "at least 1", 0);
  rope.factor = fields.number("factor", static_cast<double>(context) / static_cast<double>(rope.original_context));
  const double fast = fields.number("beta_fast", 0), slow = fields.number("beta_slow", 0);  // 0: the usual
  rope.high_frequency_factor = fast != 0 ? fast : kYarnFastTurns;
  rope.low_frequency_factor = slow != 0 ? slow : kYarnSlowTurns;
  rope.whole_borders = fields.boolean("truncate", true);
  const double scale = fields.number("mscale", 0), scale_of_all = fields.number("mscale_all_dim", 0);
  const double usual = scale != 0 && scale_of_all != 0
                           ? yarn_magnitude(rope.factor, scale) / yarn_magnitude(rope.factor, scale_of_all)
                           : yarn_magnitude(rope.factor);
  rope.magnitude = static_cast<float>(fields.number("attention_factor", usual));
  rope.query_growth = static_cast<float>(fields.number("llama_4_scaling_beta", 0));
  return rope;
}

// Positions that turn the first part of a head, by frequencies of the whole.
RopeConfig as_proportional(RopeConfig rope, double part, double factor) {
  rope.scaling = RopeScaling::proportional;
  const auto turning = static_cast<std::uint64_t>(part * static_cast<double>(rope.rotary_dim) / 2);
  rope.frequency_divisors = proportional_divisors(rope.rotary_dim, turning, factor);
  return rope;
}

RopeConfig read_proportional(const Fields& fields, RopeConfig rope) {
  const double part = fields.number("partial_rotary_factor", 1), factor = fields.number("factor", 1);
  if (!(part >= 0 && part <= 1)) fields.wrong("partial_rotary_factor", "between 0 and 1", part);
  if (!(factor > 1e-6 && factor < 1e6)) fields.wrong("factor", "positive", factor);
  return as_proportional(std::move(rope), part, factor);
}

// Positions whose base was grown once (NTK-aware, with a fixed alpha), by alpha^(d / (d - 2)) for d channels.
RopeConfig read_grown_base(const Fields& fields, RopeConfig rope) {
  const double alpha = fields.number("alpha", 0);
  if (alpha == 0) fields.unsupported("positions that follow the length of a text cannot be run; alpha is missing");
  if (!(alpha > 1e-6 && alpha < 1e9)) fields.wrong("alpha", "positive", alpha);
  if (rope.rotary_dim <= 2) fields.contradicts("heads of 2 channels have no base that could grow; alpha");
  const auto channels = static_cast<double>(rope.rotary_dim);
  rope.base *= std::pow(alpha, channels / (channels - 2));
  return rope;
}

// rope: as its group says. Which of two lengths counts, readers do not agree on.
void refuse_two_lengths(const Fields& fields, const RopeConfig& rope) {
  const bool counts =
      rope.scaling == RopeScaling::yarn || rope.scaling == RopeScaling::llama3 || rope.scaling == RopeScaling::longrope;
  if (counts && fields.find(kOriginalContext) != nullptr &&
      fields.integer(kOriginalContext, 0) != rope.original_context)
    fields.wrong(kOriginalContext, fmt::format("the same as in the rotary group ({})", rope.original_context).c_str(),
                 *fields.find(kOriginalContext));
}

// What a rotary group of keys says: rope_scaling, or rope_parameters, which newer writers use instead and nest by kind
// of layer. base: what holds where the group does not say it.
RopeConfig read_scaling(const Fields& fields, const std::string& group, RopeConfig rope, std::uint64_t context,
                        bool grows_base = false) {
  rope.base = fields.number("rope_theta", rope.base);
  const std::string type = fields.string("rope_type", fields.string("type", "default"));
  if (type == "default") return rope;
  if (type == "dynamic" && grows_base) return read_grown_base(fields, std::move(rope));
  // Early files say su or yarn.
  if (type == "longrope" || type == "su" || (type == "yarn" && fields.find("long_factor") != nullptr))
    return read_longrope(fields, std::move(rope), context);
  if (type == "yarn") return read_yarn(fields, std::move(rope), context);
  if (type == "proportional") return read_proportional(fields, std::move(rope));
  if (type != "linear" && type != "llama3")
    fields.unsupported(
        fmt::format("rotary scaling can be default, linear, llama3, longrope, yarn or proportional; {}.rope_type: {}",
                    group, type));
  if (fields.find("factor") == nullptr) fields.wrong("factor", "a number", Json());
  rope.scaling = type == "linear" ? RopeScaling::linear : RopeScaling::llama3;
  rope.factor = fields.number("factor", 1);
  if (type == "llama3") {
    rope.low_frequency_factor = fields.number("low_freq_factor", 1);
    rope.high_frequency_factor = fields.number("high_freq_factor", 4);
    rope.original_context = fields.integer(kOriginalContext, rope.original_context);
  }
  return rope;
}

// What stands beside a group and in it, with another value, readers do not agree on.
void refuse_two_values(const Fields& fields, const std::string& group, const char* key) {
  const Json* const outer = fields.find(key);
  const Json* const inner = fields.object(group.c_str()).find(key);
  if (outer != nullptr && inner != nullptr && *outer != *inner)
    fields.wrong(key, fmt::format("the same as {}.{} ({})", group, key, inner->dump().substr(0, 80)).c_str(), *outer);
}

std::uint64_t read_rotary_dim(const Fields& fields, const Architecture& architecture, const HfVariant& variant,
                              std::uint64_t head_dim) {
  constexpr const char* kKey = "partial_rotary_factor";
  double part = fields.number(kKey, variant.default_rotary_part);
  for (const char* const group : {"rope_parameters", "rope_scaling"}) {
    if (fields.find(group) == nullptr) continue;
    part = fields.object(group).number(kKey, part);
    refuse_two_values(fields, group, kKey);
  }
  if (part == 1) return head_dim;
  if (!architecture.rotates_partly) fields.unsupported("partial_rotary_factor other than 1 cannot be run");
  const double rotary = static_cast<double>(head_dim) * part;
  if (!(rotary >= 2 && rotary <= static_cast<double>(head_dim)) || std::fmod(std::floor(rotary), 2) != 0)
    fields.wrong(kKey, "a part of a head with an even number of channels", part);
  return static_cast<std::uint64_t>(rotary);
}

// Files that carry both groups, for old readers and new ones, say the same in both.
void refuse_two_scalings(const Fields& fields) {
  if (fields.find("rope_parameters") == nullptr || fields.find("rope_scaling") == nullptr) return;
  const Fields newer = fields.object("rope_parameters"), older = fields.object("rope_scaling");
  if (newer.find("full_attention") != nullptr || newer.find("sliding_attention") != nullptr) return;
  // Early files say su or yarn.
  const auto type = [](const Fields& group) {
    const std::string name = group.string("rope_type", group.string("type", "default"));
    return name == "su" || (name == "yarn" && group.find("long_factor") != nullptr) ? std::string("longrope") : name;
  };
  if (type(newer) != type(older))
    fields.wrong("rope_parameters.rope_type", fmt::format("the same as rope_scaling's ({})", type(older)).c_str(),
                 Json(type(newer)));
  for (const auto& [key, value] : fields.find("rope_parameters")->items()) {
    const Json* const other = older.find(key.c_str());
    if (key == "type" || key == "rope_type" || other == nullptr || *other == value) continue;
    fields.wrong(("rope_parameters." + key).c_str(),
                 fmt::format("the same as rope_scaling.{} ({})", key, other->dump().substr(0, 80)).c_str(), value);
  }
}

// Gemma 4's class knows no usual positions for a kind of layer that its groups leave out.
void refuse_missing_kinds(const Fields& fields, const std::string& group, const ModelConfig& config) {
  const Fields kinds = fields.object(group.c_str());
  const auto require = [&](const char* kind, bool slides) {
    bool is_there = !slides && config.slides.empty();
    for (const bool layer : config.slides) is_there = is_there || layer == slides;
    if (is_there && kinds.find(kind) == nullptr) kinds.wrong(kind, "an object, since there are such layers", Json());
  };
  require("full_attention", false);
  require("sliding_attention", true);
}

}  // namespace

void read_huggingface_rope(const HuggingFaceFields& fields, const KnownFamily& family, ModelConfig& config,
                           ConfigKeys& keys) {
  const HfVariant& variant = *family.variant;
  std::string group = fields.find("rope_parameters") != nullptr ? "rope_parameters" : "rope_scaling";
  if (variant.default_proportional_part != 0 && fields.find(group.c_str()) != nullptr)
    refuse_missing_kinds(fields, group, config);
  RopeConfig& rope = config.rope;
  rope.half_split = true;
  rope.rotary_dim = read_rotary_dim(fields, *family.architecture, variant,
                                    config.full_head_dim != 0 ? config.full_head_dim : config.head_dim);
  rope.original_context = fields.integer(
      kOriginalContext, variant.default_original_context != 0 ? variant.default_original_context : config.context);
  rope.base = fields.number("rope_theta", variant.default_rope_base);
  keys.rope_base = "rope_theta";
  const bool has_local_base = variant.default_local_rope_base != 0;
  if (has_local_base) {
    config.sliding_rope = rope;
    if (config.full_head_dim != 0) config.sliding_rope->rotary_dim = config.head_dim;
    config.sliding_rope->base = fields.number("rope_local_base_freq", variant.default_local_rope_base);
    keys.sliding_rope_base = "rope_local_base_freq";
  }
  if (variant.default_proportional_part != 0 && fields.find(group.c_str()) == nullptr)
    rope = as_proportional(std::move(rope), variant.default_proportional_part, 1);
  if (fields.find(group.c_str()) == nullptr) return;
  Fields scaling = fields.object(group.c_str());
  refuse_two_scalings(fields);
  if (scaling.find("full_attention") != nullptr || scaling.find("sliding_attention") != nullptr) {
    if (!has_local_base) fields.unsupported(fmt::format("{} that differ between layers cannot be run", group));
    if (scaling.find("sliding_attention") != nullptr) {
      config.sliding_rope = read_scaling(scaling.object("sliding_attention"), group + ".sliding_attention",
                                         *config.sliding_rope, config.context);
      if (scaling.object("sliding_attention").find("rope_theta") != nullptr)
        keys.sliding_rope_base = group + ".sliding_attention.rope_theta";
    }
    if (scaling.find("full_attention") == nullptr) return;
    const Fields full = scaling.object("full_attention");
    group += ".full_attention";
    rope = read_scaling(full, group, rope, config.context);
    rope.whole_borders = true;  // the key counts beside the groups only, where no file has it
    if (full.find("rope_theta") != nullptr) keys.rope_base = group + ".rope_theta";
  } else {
    refuse_two_values(fields, group, "rope_theta");
    rope = read_scaling(scaling, group, rope, config.context, family.architecture->grows_base);
    if (scaling.find("rope_theta") != nullptr) keys.rope_base = group + ".rope_theta";
  }
  refuse_two_lengths(fields, rope);
  keys.rope_factor = group + ".factor";
  const bool is_yarn = rope.scaling == RopeScaling::yarn;
  keys.rope_low = group + (is_yarn ? ".beta_slow" : ".low_freq_factor");
  keys.rope_high = group + (is_yarn ? ".beta_fast" : ".high_freq_factor");
  keys.rope_original_context = group + "." + kOriginalContext;
  keys.rope_magnitude = group + ".attention_factor";
  keys.rope_query_growth = group + ".llama_4_scaling_beta";
  if (rope.query_growth != 0 && !family.architecture->grows_queries)
    fields.unsupported("queries that grow with their position cannot be run in this family; " + keys.rope_query_growth);
}

}  // namespace nibble
