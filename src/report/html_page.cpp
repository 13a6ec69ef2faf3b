// SPDX-License-Identifier: Apache-2.0
#include "report/html_page.h"

#include <stdexcept>

#include "report/page_assets.h"

namespace nibble {
namespace {

std::string asset(std::string_view name) {
  for (const EmbeddedText& candidate : page_assets())
    if (candidate.name == name) return candidate.text();
  throw std::logic_error("no such part of the page: " + std::string(name));
}

// Inside <script> nothing may look like an end tag or a comment.
std::string script_safe(std::string text) {
  for (std::size_t at = text.find('<'); at != std::string::npos; at = text.find('<', at + 6))
    text.replace(at, 1, "\\u003c");
  return text;
}

}  // namespace

std::string html_page(const Json& figures) {
  const std::string skeleton = asset("page.html");
  std::string page;
  std::size_t at = 0;
  for (std::size_t open = skeleton.find("{{"); open != std::string::npos; open = skeleton.find("{{", at)) {
    const std::size_t close = skeleton.find("}}", open);
    const std::string name = skeleton.substr(open + 2, close - open - 2);
    page.append(skeleton, at, open - at);
    page += name == "data" ? script_safe(json_text(figures)) : asset(name == "chart.js" ? "chart.min.js" : name);
    at = close + 2;
  }
  return page.append(skeleton, at);
}

}  // namespace nibble
