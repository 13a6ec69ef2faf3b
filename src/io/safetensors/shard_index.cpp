// SPDX-License-Identifier: Apache-2.0
#include "io/safetensors/shard_index.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "io/checkpoint_parts.h"
#include "io/json_text.h"
#include "io/message_text.h"
#include "nibble/error.h"

namespace nibble {

ShardIndex parse_shard_index(std::string_view text, const std::string& source) {
  const auto document = parse_json(text, source);
  const auto map = document.is_object() ? document.find("weight_map") : document.end();
  if (map == document.end() || !map->is_object())
    throw Error(ErrorKind::corrupt, fmt::format("{}: index has no object 'weight_map'", source));
  if (map->empty()) throw Error(ErrorKind::corrupt, fmt::format("{}: 'weight_map' is empty", source));
  ShardIndex index;
  for (const auto& [name, file] : map->items()) {
    if (!file.is_string())
      throw Error(ErrorKind::corrupt,
                  fmt::format("{}: weight_map of tensor {} is not a string", source, quote_name(name)));
    const auto& file_name = file.get_ref<const std::string&>();
    if (!is_plain_file_name(file_name))
      throw Error(ErrorKind::corrupt,
                  fmt::format("{}: weight_map of tensor {} is not the name of a file beside the index: {}", source,
                              quote_name(name), quote_name(file_name)));
    index.weight_map.emplace(name, file_name);
  }
  return index;
}

}  // namespace nibble
