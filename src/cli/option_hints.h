// SPDX-License-Identifier: Apache-2.0
//
// Which option of the command line stands for a setting that an error of the library names (Error::setting()).
#pragma once

#include <span>
#include <string_view>

namespace nibble::cli {

struct OptionHint {
  std::string_view setting, option;
};

std::span<const OptionHint> option_hints();
// Empty for no setting, and for one that no option stands for.
std::string_view option_for(std::string_view setting);

}  // namespace nibble::cli
