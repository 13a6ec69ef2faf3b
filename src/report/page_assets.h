// SPDX-License-Identifier: Apache-2.0
//
// The parts of the HTML page that are files of their own: those of src/report/page/ and Chart.js, put into the library
// when it is built.
#pragma once

#include <span>
#include <string_view>

namespace nibble {

struct PageAsset {
  std::string_view name;                     // "page.css"
  std::span<const std::string_view> pieces;  // the text, cut
};

std::span<const PageAsset> page_assets();

}  // namespace nibble
