// SPDX-License-Identifier: Apache-2.0
#include "serve/api/metrics_text.h"

#include <gtest/gtest.h>

#include <array>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <regex>
#include <set>

namespace nibble::serve {
namespace {

std::set<std::string> words_of(const std::string& text, const char* pattern) {
  const std::regex regex(pattern);
  std::set<std::string> found;
  for (std::sregex_iterator at(text.begin(), text.end(), regex), end; at != end; ++at) found.insert((*at)[0].str());
  return found;
}

// The dashboard of docs/grafana.json.
TEST(MetricsText, ADashboardAsksForWhatThereIs) {
  std::ifstream file(NIBBLE_SOURCE_DIR "/docs/grafana.json");
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  const nlohmann::json dashboard = nlohmann::json::parse(text, nullptr, false);
  ASSERT_TRUE(dashboard.is_object());
  EXPECT_GE(dashboard["panels"].size(), 12u);
  std::string lines;
  const std::string told = metrics_text(std::array{ModelState{}}, 1);
  for (std::size_t at = 0; at < told.size(); at = told.find('\n', at) + 1)
    if (told[at] != '#') lines += told.substr(at, told.find_first_of("{ ", at) - at) + '\n';
  const std::set<std::string> names = words_of(lines, "nibble_[a-z0-9_]+");
  EXPECT_TRUE(names.contains("nibble_time_to_first_token_seconds_bucket"));
  std::size_t asked = 0;
  for (const nlohmann::json& panel : dashboard["panels"])
    for (const nlohmann::json& target : panel["targets"])
      for (const std::string& name : words_of(target["expr"], "nibble_[a-z0-9_]+")) {
        EXPECT_TRUE(names.contains(name)) << panel["title"] << " asks for " << name;
        ++asked;
      }
  EXPECT_GE(asked, 20u);
}

}  // namespace
}  // namespace nibble::serve
