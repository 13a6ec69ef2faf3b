// SPDX-License-Identifier: Apache-2.0
//
// README.md of a directory, as model hubs show it: what the weights were made from and how, what that cost, and how to
// load them. No time, host or path: the same inputs give the same text. Internal to pipeline/.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "nibble/evaluate.h"
#include "pipeline/export/container.h"

namespace nibble {

inline constexpr const char* kModelCardFile = "README.md";
inline constexpr std::string_view kBaseModelKey = "nibble.base_model";  // of GGUF files, which have no card

// What a model is called that others are made of: what its own card or metadata says of what nibble made it of, else
// its own name; the last component of its path where it has none.
std::string base_name_of(const SourceModel& source);

// A matrix as it is written.
struct CardMatrix {
  std::string kind;  // "attention.q"
  FormatPtr format;
  std::uint64_t rows = 0, cols = 0;
};

// What a card tells. All but the manifest are shown as they are.
struct CardFacts {
  std::string base;  // what the weights were made of; empty: of nothing
  std::string_view manifest;
  std::vector<CardMatrix> matrices;
  bool was_quantized = false;
  std::vector<std::string> notes{};
};

// use: commands that load a directory of this kind, a line each.
std::string make_model_card(const CardFacts& facts, std::string_view container, std::string_view use);
std::string make_model_card(const ContainerContents& contents, std::string_view container, std::string_view use);

// The same with what a verdict of the directory's model found, where it has a card; nothing else is changed.
void add_verdict(const std::filesystem::path& directory, const PairedVerdict& verdict);
// What it found, as Markdown; empty where a model's directory has no card that says so.
std::string verdict_of_card(const SourceModel& model);
// Of such a verdict a metric's figure, as it stands there: "0.01234 (0.01198 to 0.0127)"; empty where it has none.
std::string figure_of_verdict(std::string_view verdict, Metric metric);

}  // namespace nibble
