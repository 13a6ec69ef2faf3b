// SPDX-License-Identifier: Apache-2.0
#include "model/gguf_keys.h"

#include <fmt/format.h>

#include <type_traits>
#include <variant>

#include "nibble/error.h"

namespace nibble {

GgufKeys::GgufKeys(const Checkpoint& checkpoint, std::string source, std::string prefix)
    : checkpoint_(checkpoint), metadata_(checkpoint.gguf()), source_(std::move(source)), prefix_(std::move(prefix)) {}

std::uint64_t GgufKeys::required_integer(std::string_view key) const {
  const auto value = integer(key);
  if (!value) missing(key);
  return *value;
}

std::optional<std::uint64_t> GgufKeys::layer_integer(std::string_view key) const {
  const GgufValue* value = metadata_.find(full(key));
  if (value == nullptr || value->type != GgufType::array) return integer(key);
  const auto list = metadata_.numbers(full(key));
  if (!list || list->empty()) missing(key);
  for (const double v : *list)
    if (v != list->front()) unsupported(fmt::format("layers that differ in {} cannot be run", full(key)));
  if (!(list->front() >= 0 && list->front() < 1e9)) wrong(key, fmt::format("must be a count: {}", list->front()));
  return static_cast<std::uint64_t>(list->front());
}

std::optional<std::vector<std::uint64_t>> GgufKeys::layer_integers(std::string_view key, std::uint64_t layers) const {
  const GgufValue* const value = metadata_.find(full(key));
  if (value == nullptr) return std::nullopt;
  if (value->type != GgufType::array) return std::vector<std::uint64_t>(layers, *integer(key));
  const auto list = metadata_.numbers(full(key));
  if (!list || list->size() < layers || list->empty())
    wrong(key, fmt::format("must have a count for each of {} layers", layers));
  std::vector<std::uint64_t> counts;
  for (std::uint64_t i = 0; i < layers; ++i) {
    if (!((*list)[i] >= 0 && (*list)[i] < 1e9)) wrong(key, fmt::format("must be counts: {}", (*list)[i]));
    counts.push_back(static_cast<std::uint64_t>((*list)[i]));
  }
  return counts;
}

std::optional<double> GgufKeys::flag_or_number(std::string_view key) const {
  const GgufValue* const value = metadata_.find(full(key));
  if (value == nullptr || value->type != GgufType::boolean) return number(key);
  return metadata_.boolean(full(key)).value_or(false) ? 1 : 0;
}

std::optional<std::vector<bool>> GgufKeys::layer_flags(std::string_view key, std::uint64_t layers) const {
  const GgufValue* value = metadata_.find(full(key));
  if (value == nullptr || value->type != GgufType::array) return std::nullopt;
  const auto& array = std::get<GgufArray>(value->value);
  std::vector<bool> flags;
  const auto append = [&](const auto& numbers) {
    if constexpr (std::is_integral_v<typename std::decay_t<decltype(numbers)>::value_type>)
      for (const auto number : numbers) flags.push_back(number != 0);
  };
  std::visit(append, array.values);
  if (array.size() != layers || flags.size() != layers)
    wrong(key, fmt::format("must have a flag for each of {} layers", layers));
  return flags;
}

void GgufKeys::missing(std::string_view key) const {
  throw Error(ErrorKind::corrupt, source_ + ": key is missing: " + full(key));
}

void GgufKeys::wrong(std::string_view key, std::string_view what) const {
  throw Error(ErrorKind::corrupt, fmt::format("{}: {} {}", source_, full(key), what));
}

void GgufKeys::contradicts(const std::string& what) const { throw Error(ErrorKind::corrupt, source_ + ": " + what); }

void GgufKeys::unsupported(const std::string& what) const {
  throw Error(ErrorKind::unsupported, source_ + ": " + what);
}

}  // namespace nibble
