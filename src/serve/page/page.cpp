// SPDX-License-Identifier: Apache-2.0
#include "serve/page/page.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace nibble::serve {

namespace {

constexpr std::string_view kFolder = "/page/", kFirst = "index.html";

// No markup that a text might become, no address but the server's own, no frame around it.
constexpr const char* kPolicy =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

const char* content_type(std::string_view name) {
  struct Ending {
    std::string_view ending;
    const char* type;
  };
  static constexpr auto kTypes = std::to_array<Ending>({{".html", "text/html; charset=utf-8"},
                                                        {".css", "text/css; charset=utf-8"},
                                                        {".js", "text/javascript; charset=utf-8"},
                                                        {".svg", "image/svg+xml"}});
  const auto* const found = std::ranges::find_if(kTypes, [&](const Ending& one) { return name.ends_with(one.ending); });
  return found == kTypes.end() ? "application/octet-stream" : found->type;
}

}  // namespace

std::optional<HttpAnswer> page_answer(const HttpRequest& request) {
  const std::string_view path = request.path;
  const std::string_view name = path == "/" ? kFirst : path.substr(std::min(kFolder.size(), path.size()));
  const auto files = page_files();
  const auto file = std::ranges::find(files, name, &EmbeddedText::name);
  if (file == files.end()) return std::nullopt;
  const std::string tag = fmt::format("\"{}\"", file->hash);
  HttpAnswer answer{.content_type = content_type(name),
                    .headers = {{"ETag", tag},
                                {"Cache-Control", "no-cache"},
                                {"Content-Security-Policy", kPolicy},
                                {"Referrer-Policy", "no-referrer"},
                                {"Cross-Origin-Resource-Policy", "same-origin"}}};
  // What a browser has goes by its tag, with others or marked as weak.
  if (request.header("if-none-match").find(tag) != std::string_view::npos)
    answer.status = 304;
  else
    answer.body = file->text();
  return answer;
}

}  // namespace nibble::serve
