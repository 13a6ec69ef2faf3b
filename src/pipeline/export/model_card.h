// SPDX-License-Identifier: Apache-2.0
//
// README.md of a directory, as model hubs show it: what the weights were made from and how, what that cost, and how to
// load them. No time, host or path: the same inputs give the same text. Internal to pipeline/.
#pragma once

#include <filesystem>
#include <string>

#include "nibble/evaluate.h"
#include "pipeline/export/container.h"

namespace nibble {

inline constexpr const char* kModelCardFile = "README.md";

// use: commands that load a directory of this kind, a line each.
std::string make_model_card(const ContainerContents& contents, std::string_view container, std::string_view use);

// The same with what a verdict of the directory's model found, where it has a card; nothing else is changed.
void add_verdict(const std::filesystem::path& directory, const PairedVerdict& verdict);

}  // namespace nibble
