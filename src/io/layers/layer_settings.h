// SPDX-License-Identifier: Apache-2.0
//
// What a directory says of layers that another program has quantized: quantization_config of config.json and its
// relatives. Values are judged where they are read, with the key's name in every error. Internal to io/; immutable.
//
//   if (const auto found = find_layer_settings(config_json, read_side_file, directory))
//     const std::int64_t bits = found->whole_number("bits", {2, 3, 4, 8});
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace nibble {

class LayerSettings {
 public:
  using Json = nlohmann::ordered_json;

  // place: for messages, "quantization_config in config.json". Anything but an object has no keys.
  LayerSettings(std::string method, std::string place, Json json);

  const std::string& method() const { return method_; }  // "gptq"; empty: they name none
  const std::string& place() const { return place_; }
  const Json& json() const { return *json_; }  // of those that are laid over others: their own

  // Null where the key is missing or null.
  const Json* find(std::string_view key) const;

  // Each is Error(unsupported) that names the key where the value is of another kind, or not one of those that are
  // read here (empty: any). Without the key it is `otherwise`, and the same error where there is no such thing.
  std::int64_t whole_number(std::string_view key, std::initializer_list<std::int64_t> read,
                            std::optional<std::int64_t> otherwise = {}) const;
  std::string text(std::string_view key, std::initializer_list<std::string_view> read,
                   std::optional<std::string> otherwise = {}) const;
  bool flag(std::string_view key, bool otherwise) const;
  // group_size: inputs that share a scale, 0 for all of them (-1 in the file).
  std::uint32_t group_size(std::string_view key = "group_size", std::optional<std::int64_t> otherwise = {}) const;

  // An object within; no key is there where there is none.
  LayerSettings inner(std::string_view key) const;
  // These, and laid over them those of an object within; both are shared, not copied. place: of the object, for
  // messages ("dynamic.X").
  LayerSettings overlaid(const Json& object, std::string_view place) const;

  // Error(unsupported) "KEY is VALUE: why".
  [[noreturn]] void refuse(std::string_view key, std::string_view why) const;

 private:
  std::string method_, place_, prefix_;         // prefix: of keys in messages
  std::shared_ptr<const Json> json_;            // never null; with what it lies within
  std::shared_ptr<const LayerSettings> under_;  // where keys are looked for that json_ does not have
};

// nullopt where nothing is said. read_side_file: a small file of the directory by its name. Error(corrupt): no JSON.
std::optional<LayerSettings> find_layer_settings(
    const std::string& config_json, const std::function<std::optional<std::string>(const std::string&)>& read_side_file,
    const std::string& directory);

}  // namespace nibble
