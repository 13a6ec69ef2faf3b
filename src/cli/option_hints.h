// SPDX-License-Identifier: Apache-2.0
//
// Which option of the command line stands for a setting that an error of the library names (Error::setting()).
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>

namespace nibble::cli {

struct OptionHint {
  std::string_view setting, option;
};

std::span<const OptionHint> option_hints();
// Empty for no setting, and for one that no option stands for.
std::string_view option_for(std::string_view setting);
// What of such a text names options that there are, or another verb with its option; all of it where all are there.
// is_word: whether an option ("--text") or a verb ("calibrate") is one of the command's.
std::string options_there(std::string_view hint, const std::function<bool(std::string_view word)>& is_word);

}  // namespace nibble::cli
