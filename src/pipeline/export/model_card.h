// SPDX-License-Identifier: Apache-2.0
//
// README.md of a directory, as model hubs show it: what the weights were made from and how, what that cost, and how to
// load them. No time, host or path: the same inputs give the same text. Internal to pipeline/.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "nibble/evaluate.h"
#include "pipeline/export/container.h"

namespace nibble {

inline constexpr const char* kModelCardFile = "README.md";
inline constexpr std::string_view kBaseModelKey = "nibble.base_model";  // of GGUF files, which have no card

// What a model is called that others are made of: what its own card or metadata says of what nibble made it of, else
// its own name; the last component of its path where it has none.
std::string base_name_of(const SourceModel& source);

// use: commands that load a directory of this kind, a line each.
std::string make_model_card(const ContainerContents& contents, std::string_view container, std::string_view use);

// The same with what a verdict of the directory's model found, where it has a card; nothing else is changed.
void add_verdict(const std::filesystem::path& directory, const PairedVerdict& verdict);

}  // namespace nibble
