// SPDX-License-Identifier: Apache-2.0
#include "io/safetensors/wrapped_names.h"

#include <array>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

namespace nibble {
namespace {

constexpr std::string_view kEmbedding = "embed_tokens.weight", kHead = "lm_head.weight", kBody = "model.";

// Of wrappers around any part of a model; no model has such a part itself.
constexpr std::array<std::string_view, 3> kAnywhere = {"_orig_mod.", "_fsdp_wrapped_module.",
                                                       "_checkpoint_wrapped_module."};

std::string without_wrappers(std::string name) {
  for (const std::string_view wrapper : kAnywhere)
    for (std::size_t at = name.find(wrapper); at != std::string::npos; at = name.find(wrapper)) {
      if (at > 0 && name[at - 1] != '.') break;
      name.erase(at, wrapper.size());
    }
  return name;
}

// What stands before `ending` in the one name that ends so, at the begin of a word; nullopt: no name, or several.
std::optional<std::string> prefix_of(const std::vector<std::string>& names, std::string_view ending) {
  std::optional<std::string> prefix;
  for (const std::string& name : names) {
    if (!name.ends_with(ending)) continue;
    const std::size_t size = name.size() - ending.size();
    if (size > 0 && name[size - 1] != '.') continue;
    if (prefix) return std::nullopt;
    prefix = name.substr(0, size);
  }
  return prefix;
}

}  // namespace

void unwrap_names(std::vector<StoredTensor>& tensors) {
  std::vector<std::string> names;
  for (const StoredTensor& tensor : tensors) names.push_back(without_wrappers(tensor.name));
  const auto body = prefix_of(names, kEmbedding), head = prefix_of(names, kHead);
  for (std::string& name : names) {
    if (head && name.size() == head->size() + kHead.size() && name.starts_with(*head) && name.ends_with(kHead))
      name = kHead;
    else if (body && *body != kBody && name.starts_with(*body))
      name = std::string(kBody) + name.substr(body->size());
  }
  std::unordered_set<std::string_view> distinct(names.begin(), names.end());
  if (distinct.size() != names.size()) return;
  // Nor may a new name be what another tensor is called in the file.
  std::unordered_map<std::string_view, std::size_t> own;
  for (std::size_t i = 0; i < tensors.size(); ++i) own.emplace(tensors[i].name, i);
  for (std::size_t i = 0; i < tensors.size(); ++i)
    if (const auto other = own.find(names[i]); other != own.end() && other->second != i) return;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    if (names[i] == tensors[i].name) continue;
    tensors[i].wrapped_name = std::move(tensors[i].name);
    tensors[i].name = std::move(names[i]);
  }
}

}  // namespace nibble
