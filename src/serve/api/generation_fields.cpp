// SPDX-License-Identifier: Apache-2.0
#include "serve/api/generation_fields.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <random>
#include <utility>

namespace nibble::serve {

namespace {

constexpr double kMostPenalty = 2, kMostBias = 100;

// Of two spellings the first that is there.
std::string_view either(const RequestFields& fields, std::string_view one, std::string_view other) {
  return fields.find(one) != nullptr ? one : other;
}

std::vector<std::pair<std::int32_t, float>> read_biases(const RequestFields& fields) {
  std::vector<std::pair<std::int32_t, float>> biases;
  const Json* const field = fields.find("logit_bias");
  if (field == nullptr) return biases;
  if (!field->is_object() || field->size() > kMostBiases)
    throw ApiError(400, fmt::format("logit_bias must be an object of at most {} token ids", kMostBiases), "logit_bias");
  for (const auto& [key, value] : field->items()) {
    std::int32_t id = 0;
    const auto [end, code] = std::from_chars(key.data(), key.data() + key.size(), id);
    const double bias = value.is_number() ? value.get<double>() : 2 * kMostBias;
    if (code != std::errc{} || end != key.data() + key.size() || !(bias >= -kMostBias && bias <= kMostBias))
      throw ApiError(400, fmt::format("logit_bias gives token ids numbers from -{0} to {0}: '{1}'", kMostBias, key),
                     "logit_bias");
    biases.emplace_back(id, static_cast<float>(bias));
  }
  return biases;
}

// -1 is how some clients say nothing.
std::size_t read_most_tokens(const RequestFields& fields, std::size_t otherwise) {
  for (const std::string_view name : {"max_completion_tokens", "max_tokens", "n_predict"}) {
    const Json* const field = fields.find(name);
    if (field == nullptr) continue;
    if (field->is_number_integer() && *field == -1) return SIZE_MAX;
    return fields.whole(name, 0, 0, std::uint64_t{1} << 40U);
  }
  return otherwise;
}

std::uint64_t random_seed() {
  std::random_device device;
  return (std::uint64_t{device()} << 32U) | device();
}

}  // namespace

GenerationFields read_generation_fields(const RequestFields& fields, const ServedModel& model,
                                        std::size_t most_tokens) {
  refuse_undone(fields);
  GenerationFields read;
  GenerationRequest& request = read.request;
  SamplerOptions& sampler = request.sampler;
  sampler = model.sampler;
  sampler.temperature = fields.number("temperature", sampler.temperature, 0, 1000);
  sampler.top_p = fields.number("top_p", sampler.top_p, 0, 1);
  sampler.min_p = fields.number("min_p", sampler.min_p, 0, 1);
  if (const Json* const top_k = fields.find("top_k"); top_k != nullptr && *top_k == -1)
    sampler.top_k = 0;
  else
    sampler.top_k = fields.whole("top_k", sampler.top_k, 0, std::uint64_t{1} << 31U);
  sampler.repetition_penalty =
      fields.number(either(fields, "repetition_penalty", "repeat_penalty"), sampler.repetition_penalty, 0.01, 100);
  sampler.repetition_window = fields.whole("repeat_last_n", sampler.repetition_window, 0, std::uint64_t{1} << 31U);
  const Json* const seed = fields.find("seed");
  if (seed != nullptr && !seed->is_number_integer()) throw ApiError(400, "seed must be a whole number", "seed");
  sampler.seed = seed == nullptr ? random_seed() : static_cast<std::uint64_t>(seed->get<std::int64_t>());
  request.presence_penalty = fields.number("presence_penalty", 0, -kMostPenalty, kMostPenalty);
  request.frequency_penalty = fields.number("frequency_penalty", 0, -kMostPenalty, kMostPenalty);
  request.logit_bias = read_biases(fields);
  request.max_tokens = read_most_tokens(fields, most_tokens);
  request.stop = fields.texts("stop", kMostStops);
  request.ignore_end = fields.flag(either(fields, "ignore_eos", "ignore_end"), false);
  read.choices = fields.whole("n", 1, 1, kMostChoices);
  if (fields.whole("best_of", read.choices, 1, 1U << 16U) != read.choices)
    throw ApiError(400, "best_of is not supported, but as the same number as n", "best_of", "unsupported_parameter");
  read.streams = fields.flag("stream", false);
  if (const Json* const options = fields.find("stream_options")) {
    if (!options->is_object()) throw ApiError(400, "stream_options must be an object", "stream_options");
    read.includes_usage = RequestFields(*options).flag("include_usage", false);
  }
  return read;
}

GenerationRequest choice_of(const GenerationFields& fields, std::vector<std::int32_t> prompt, std::size_t i) {
  GenerationRequest request = fields.request;
  request.prompt = std::move(prompt);
  request.sampler.seed += i;
  return request;
}

}  // namespace nibble::serve
