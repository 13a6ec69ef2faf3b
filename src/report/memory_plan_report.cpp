// SPDX-License-Identifier: Apache-2.0
#include "report/memory_plan_report.h"

#include <fmt/format.h>

#include <algorithm>

#include "report/number_text.h"

namespace nibble {
namespace {

std::string both_units(std::uint64_t bytes) {
  return fmt::format("{} ({:.1f} GiB)", bytes_text(bytes), static_cast<double>(bytes) / 0x1p30);
}

std::string basis_text(const MemoryPlan& plan) {
  std::string text = fmt::format("{}: {} parameters, ", plan.model, count_text(plan.parameters));
  text += plan.scaled == 1 ? fmt::format("shape of {}", plan.shape)
                           : fmt::format("the shape of {} with its matrices scaled by {}: an estimate", plan.shape,
                                         significant_text(plan.scaled));
  return text + fmt::format(" ({} layers, {} key/value heads of {})\n", plan.layers, plan.kv_heads, plan.head_dim);
}

std::string memory_text(const MemoryPlan& plan) {
  std::string text = fmt::format(
      "memory     {}, less {} headroom{} and about {} of activations: {} for weights and cache\n",
      both_units(plan.memory), bytes_text(plan.headroom), plan.usual_headroom ? " (a twentieth, at least 256 MB)" : "",
      bytes_text(plan.activations), bytes_text(plan.usable()));
  text += fmt::format("KV cache   at {} tokens:", grouped_text(plan.context));
  for (std::size_t type = 0; type < kCacheTypes.size(); ++type)
    text +=
        fmt::format("{} {} in {}", type == 0 ? "" : ",", bytes_text(plan.cache_bytes[type]), kCacheTypes[type].name);
  text += "\n";
  if (plan.recurrent_bytes > 0)
    text += fmt::format(
        "           of which recurrent states are {}, however long the text; a chat keeps {} beside, to go back to\n",
        bytes_text(plan.recurrent_bytes), bytes_text(plan.saved_bytes));
  if (plan.context > plan.model_context)
    text += fmt::format("           (this shape was trained for {} tokens)\n", grouped_text(plan.model_context));
  if (plan.bandwidth > 0)
    text += fmt::format("bandwidth  {}/s\n", bytes_text(static_cast<std::uint64_t>(plan.bandwidth)));
  return text;
}

std::string fits_text(const PlannedWeights& weights) {
  for (std::size_t type = weights.usual_cache; type < kCacheTypes.size(); ++type)
    if (weights.fits[type])
      return type == weights.usual_cache ? "yes" : fmt::format("with KV in {}", kCacheTypes[type].name);
  return "no";
}

// Mixes of so few bits that nobody makes them without statistics.
bool needs_importance(std::string_view format) {
  for (const std::string_view few : {"iq1", "iq2", "iq3", "q2_k"})
    if (format.find(few) != std::string_view::npos) return true;
  return false;
}

std::string nothing_fits(const MemoryPlan& plan) {
  const PlannedWeights& smallest = *std::ranges::min_element(plan.formats, {}, &PlannedWeights::bytes);
  const std::uint64_t alone = smallest.bytes + plan.cache_bytes.back() + plan.activations + plan.saved_bytes;
  std::string text = fmt::format("\nNothing fits. The smallest, {}, needs {} with the cache in {}", smallest.format,
                                 bytes_text(alone + plan.headroom), kCacheTypes.back().name);
  if (alone <= plan.memory)
    text += fmt::format("; what decides is the headroom of {}, without which it would fit", bytes_text(plan.headroom));
  if (smallest.longest.back() > 0)
    text += fmt::format("; up to {} tokens would fit", grouped_text(smallest.longest.back()));
  return text + ".\n";
}

std::string advice(const MemoryPlan& plan) {
  if (!plan.best) return nothing_fits(plan);
  const PlannedWeights& best = plan.formats[*plan.best];
  const std::string cache(kCacheTypes[plan.best_cache].name);
  std::string text = fmt::format("\nThe most bits that fit: {}, {} of weights and {} of cache in {}.\n", best.format,
                                 bytes_text(best.bytes), bytes_text(plan.cache_bytes[plan.best_cache]), cache);
  const bool is_directory = best.format.find(':') != std::string::npos && !best.format.starts_with("mix:");
  const std::string output = is_directory ? "small" : "small.gguf";
  const bool important = needs_importance(best.format);
  if (important)
    text += "So few bits need to know which weights matter: give a text like those that the model is for.\n";
  text += fmt::format("  nibble quantize MODEL -f {}{} -o {}\n  nibble run {} -p \"Once upon a time\"{}\n", best.format,
                      important ? " --method imatrix --text calibration.txt" : "", output, output,
                      plan.best_cache == best.usual_cache ? "" : " --kv " + cache);
  return text;
}

std::string substitutions_text(const MemoryPlan& plan) {
  std::string text;
  for (const PlannedWeights& weights : plan.formats)
    if (weights.substitutions > 0)
      text += fmt::format("{}{} ({} of {} tensors)", text.empty() ? "" : ", ", weights.format, weights.substitutions,
                          weights.tensors);
  return text.empty()
             ? text
             : "\n* Rows that do not fit a format's blocks are kept in another of about its bits, which is counted: " +
                   text + ".";
}

}  // namespace

std::string memory_plan_text(const MemoryPlan& plan, const TableStyle& style) {
  std::string text = basis_text(plan) + memory_text(plan) + "\n";
  Table table({{"format"},
               {"bits/weight", Align::right},
               {"weights", Align::right},
               {"with KV", Align::right},
               {"KV in f16", Align::right},
               {"fits"},
               {"longest context", Align::right},
               {plan.bandwidth > 0 ? "tok/s at most" : "", Align::right},
               {plan.bandwidth > 0 ? "cache full" : "", Align::right}});
  for (const PlannedWeights& weights : plan.formats)
    table.add({weights.format + (weights.substitutions > 0 ? " *" : ""), fixed_text(weights.bits_per_weight, 2),
               bytes_text(weights.bytes), bytes_text(weights.bytes + plan.cache_bytes[weights.usual_cache]),
               bytes_text(weights.bytes + plan.cache_bytes[0]), fits_text(weights),
               weights.longest[weights.usual_cache] == 0 ? "" : grouped_text(weights.longest[weights.usual_cache]),
               weights.fastest > 0 ? speed_text(weights.fastest) : "",
               weights.fastest > 0 ? speed_text(weights.fastest_full) : ""});
  text += table.text(style);
  text += fmt::format(
      "\nGB are powers of 1000, GiB of 1024. With KV: the cache as 'nibble run' keeps it, in q8_0 beside quantized "
      "weights and f16 "
      "beside others.\nLongest context: tokens whose keys and values fit so beside the weights, at most the model's "
      "own {}.",
      grouped_text(plan.model_context));
  if (plan.bandwidth > 0)
    text +=
        "\nTok/s: what reading every weight once a token allows, with an empty cache, and with a full one; no runtime "
        "is faster.";
  return text + substitutions_text(plan) + "\n" + advice(plan);
}

Json to_json(const MemoryPlan& plan) {
  Json json = {{"model", plan.model},
               {"shape", plan.shape},
               {"scaled", plan.scaled},
               {"parameters", plan.parameters},
               {"context", plan.context},
               {"memory_bytes", plan.memory},
               {"headroom_bytes", plan.headroom},
               {"activation_bytes", plan.activations},
               {"bandwidth_bytes_per_second", plan.bandwidth},
               {"recurrent_bytes", plan.recurrent_bytes},
               {"saved_bytes", plan.saved_bytes},
               {"cache", Json::array()},
               {"formats", Json::array()},
               {"best", nullptr}};
  for (std::size_t type = 0; type < kCacheTypes.size(); ++type)
    json["cache"].push_back({{"type", kCacheTypes[type].name},
                             {"bytes", plan.cache_bytes[type]},
                             {"bytes_per_token", plan.cache_bytes_per_token[type]}});
  for (const PlannedWeights& weights : plan.formats) {
    Json item = {{"format", weights.format},
                 {"bits_per_weight", weights.bits_per_weight},
                 {"bytes", weights.bytes},
                 {"fits", Json::object()},
                 {"longest_context", Json::object()}};
    for (std::size_t type = 0; type < kCacheTypes.size(); ++type) {
      item["fits"][std::string(kCacheTypes[type].name)] = weights.fits[type];
      item["longest_context"][std::string(kCacheTypes[type].name)] = weights.longest[type];
    }
    item["cache"] = kCacheTypes[weights.usual_cache].name;
    item["substitutions"] = weights.substitutions;
    item["tokens_per_second"] = weights.fastest;
    item["tokens_per_second_full"] = weights.fastest_full;
    json["formats"].push_back(std::move(item));
  }
  if (plan.best)
    json["best"] = {{"format", plan.formats[*plan.best].format}, {"cache", kCacheTypes[plan.best_cache].name}};
  return json;
}

}  // namespace nibble
