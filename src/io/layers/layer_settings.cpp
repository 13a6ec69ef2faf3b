// SPDX-License-Identifier: Apache-2.0
#include "io/layers/layer_settings.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>

#include "io/json_text.h"
#include "io/message_text.h"
#include "nibble/error.h"

namespace nibble {
namespace {

using Json = LayerSettings::Json;

constexpr std::int64_t kMaxGroup = 1 << 20;

std::string text_of(const Json& object, std::string_view key) {
  const auto found = object.find(std::string(key));
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

// The method that settings name; empty: none.
std::string method_of(const Json& settings) {
  for (const char* inner : {"quant_method", "quantization_method", "quant_algo", "quant_type"})
    if (std::string method = text_of(settings, inner); !method.empty()) return method;
  return settings.contains("load_in_4bit") || settings.contains("load_in_8bit") ? "bitsandbytes" : "";
}

// Whose settings under this key are that name none; empty: nobody's.
std::string method_of_key(const Json& settings, std::string_view key) {
  if (!settings.contains("group_size") || !settings.contains("bits")) return "";
  return key == "quantization" || settings.contains("mode") ? "mlx" : "gptq or awq";
}

// What a value that is refused looks like, on one line.
std::string shown(const Json& value) { return value.is_string() ? value.get<std::string>() : dump_json(value); }

}  // namespace

LayerSettings::LayerSettings(std::string method, std::string place, Json json)
    : method_(std::move(method)), place_(std::move(place)), json_(std::make_shared<const Json>(std::move(json))) {}

const Json* LayerSettings::find(std::string_view key) const {
  if (json_->is_object())
    if (const auto found = json_->find(std::string(key)); found != json_->end())
      return found->is_null() ? nullptr : &*found;
  return under_ ? under_->find(key) : nullptr;
}

void LayerSettings::refuse(std::string_view key, std::string_view why) const {
  const Json* const value = find(key);
  throw Error(ErrorKind::unsupported,
              value == nullptr ? fmt::format("{}{} is missing: {}", prefix_, key, why)
                               : fmt::format("{}{} is {}: {}", prefix_, key, quote_name(shown(*value)), why));
}

std::int64_t LayerSettings::whole_number(std::string_view key, std::initializer_list<std::int64_t> read,
                                         std::optional<std::int64_t> otherwise) const {
  const Json* const value = find(key);
  if (value == nullptr && otherwise) return *otherwise;
  const std::string why =
      read.size() == 0 ? "a whole number is meant" : fmt::format("what is read here: {}", fmt::join(read, ", "));
  if (value == nullptr || !value->is_number_integer()) refuse(key, why);
  const auto number = value->is_number_unsigned() && value->get<std::uint64_t>() > std::uint64_t{1} << 62
                          ? std::int64_t{-2}
                          : value->get<std::int64_t>();
  if (read.size() != 0 && std::ranges::find(read, number) == read.end()) refuse(key, why);
  return number;
}

std::string LayerSettings::text(std::string_view key, std::initializer_list<std::string_view> read,
                                std::optional<std::string> otherwise) const {
  const Json* const value = find(key);
  if (value == nullptr && otherwise) return *otherwise;
  const std::string why =
      read.size() == 0 ? "a text is meant" : fmt::format("what is read here: {}", fmt::join(read, ", "));
  if (value == nullptr || !value->is_string()) refuse(key, why);
  auto text = value->get<std::string>();
  if (read.size() != 0 && std::ranges::find(read, text) == read.end()) refuse(key, why);
  return text;
}

bool LayerSettings::flag(std::string_view key, bool otherwise) const {
  const Json* const value = find(key);
  if (value == nullptr) return otherwise;
  if (!value->is_boolean()) refuse(key, "true or false is meant");
  return value->get<bool>();
}

std::uint32_t LayerSettings::group_size(std::string_view key, std::optional<std::int64_t> otherwise) const {
  const std::int64_t group = whole_number(key, {}, otherwise);
  if (group != -1 && (group < 1 || group > kMaxGroup))
    refuse(key, fmt::format("a group has 1 to {} inputs, or all of them (-1)", kMaxGroup));
  return group == -1 ? 0 : static_cast<std::uint32_t>(group);
}

LayerSettings LayerSettings::inner(std::string_view key) const {
  const Json* const value = find(key);
  if (value != nullptr && !value->is_object()) refuse(key, "an object is meant");
  LayerSettings result(method_, place_, Json());
  if (value != nullptr) result.json_ = std::shared_ptr<const Json>(json_, value);
  result.prefix_ = fmt::format("{}{}.", prefix_, key);
  return result;
}

LayerSettings LayerSettings::overlaid(const Json& object, std::string_view place) const {
  LayerSettings result = *this;
  result.prefix_ = fmt::format("{}{}.", prefix_, place);
  result.json_ = std::shared_ptr<const Json>(json_, &object);
  result.under_ = std::make_shared<const LayerSettings>(*this);
  return result;
}

std::optional<LayerSettings> find_layer_settings(
    const std::string& config_json, const std::function<std::optional<std::string>(const std::string&)>& read_side_file,
    const std::string& directory) {
  if (!config_json.empty()) {
    const Json config = parse_json(config_json, directory + "/config.json");
    const auto settings_of = [&](const char* key) -> const Json* {
      const auto found = config.is_object() ? config.find(key) : config.end();
      return found == config.end() || !found->is_object() ? nullptr : &*found;
    };
    const auto place_of = [](const char* key) { return fmt::format("{} in config.json", key); };
    constexpr std::array kKeys = {"quantization_config", "compression_config", "quantization"};
    for (const char* key : kKeys)
      if (const Json* const settings = settings_of(key))
        if (std::string method = method_of(*settings); !method.empty())
          return LayerSettings(std::move(method), place_of(key), *settings);
    for (const char* key : {kKeys[2], kKeys[0], kKeys[1]})
      if (const Json* const settings = settings_of(key))
        if (std::string method = method_of_key(*settings, key); !method.empty())
          return LayerSettings(std::move(method), place_of(key), *settings);
  }
  constexpr auto kSideFiles = std::to_array<std::pair<const char*, const char*>>(
      {{"quantize_config.json", "gptq"}, {"quant_config.json", "awq"}, {"hf_quant_config.json", "modelopt"}});
  for (const auto& [file, method] : kSideFiles)
    if (const auto text = read_side_file(file)) {
      Json json = parse_json(*text, directory + "/" + file);
      std::string own = json.is_object() ? text_of(json, "quant_method") : "";
      return LayerSettings(own.empty() ? method : std::move(own), file, std::move(json));
    }
  return std::nullopt;
}

}  // namespace nibble
