// SPDX-License-Identifier: Apache-2.0
//
// Any bytes as a Hugging Face directory. The first byte chooses: a file alone, config.json before the weights, an index
// of shards before one shard, or the settings of older quantizers before the weights. Where there are two files, the
// first ends at the first zero byte. Everything is parsed in memory, and opened as files where that succeeds.
#include <array>

#include "io/safetensors/planar_container.h"
#include "io/safetensors/safetensors_header.h"
#include "io/safetensors/shard_index.h"
#include "open_and_decode.h"

namespace {

using namespace nibble;

// 0: a file alone, 1: with config.json, 2: with an index, 3: with quantize_config.json.
bool parses(int kind, std::string_view text, std::string_view weights) {
  try {
    if (kind == 1) read_container_plan(std::string(text), "config.json");
    if (kind == 2) parse_shard_index(text, "index");
    parse_safetensors(std::as_bytes(std::span(weights)), "model.safetensors");
    return true;
  } catch (const Error&) {
    return false;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const int kind = data[0] % 4;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  const std::size_t cut = kind == 0 ? 0 : std::min(bytes.find('\0'), bytes.size());
  const std::string_view text = bytes.substr(0, cut),
                         weights = kind == 0 ? bytes : bytes.substr(std::min(cut + 1, bytes.size()));
  if (!parses(kind, text, weights)) return 0;
  if (kind == 0) {
    open_and_decode(fuzz_file("alone.safetensors", weights));
    return 0;
  }
  constexpr std::array kTexts = {"", "config.json", "model.safetensors.index.json", "quantize_config.json"};
  for (const char* name : {kTexts[1], kTexts[2], kTexts[3], "model.safetensors", "a.safetensors"})
    std::filesystem::remove(fuzz_directory() / name);
  fuzz_file(kTexts[static_cast<std::size_t>(kind)], text);
  fuzz_file(kind == 2 ? "a.safetensors" : "model.safetensors", weights);
  open_and_decode(fuzz_directory());
  return 0;
}
