// SPDX-License-Identifier: Apache-2.0
#include "io/json_text.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <set>
#include <vector>

#include "base/utf8.h"
#include "io/message_text.h"
#include "nibble/error.h"

namespace nibble {
namespace {

constexpr int kMaxDepth = 64;

// Judges what the library's own parser lets pass: depth and repeated keys.
class Judge {
 public:
  explicit Judge(const std::string& source) : source_(source) {}

  template <class Json>
  bool operator()(int depth, nlohmann::json::parse_event_t event, const Json& parsed) {
    using Event = nlohmann::json::parse_event_t;
    if (event == Event::object_start || event == Event::array_start) {
      if (depth >= kMaxDepth) throw Error(ErrorKind::corrupt, fmt::format("{}: JSON is nested deeper than {} levels", source_, kMaxDepth));
      keys_.emplace_back();
    } else if (event == Event::object_end || event == Event::array_end) {
      keys_.pop_back();
    } else if (event == Event::key) {
      const auto& key = parsed.template get_ref<const std::string&>();
      if (!keys_.back().insert(key).second) throw Error(ErrorKind::corrupt, fmt::format("{}: JSON has the key {} twice", source_, quote_name(key)));
    }
    return true;
  }

 private:
  const std::string& source_;
  std::vector<std::set<std::string>> keys_;
};

}  // namespace

nlohmann::ordered_json parse_json(std::string_view text, const std::string& source) {
  if (const auto bad = find_invalid_utf8(text); bad != std::string_view::npos)
    throw Error(ErrorKind::corrupt, fmt::format("{}: text is not UTF-8 at offset {}", source, bad));
  // The JSON library takes a zero byte for the end of the text.
  if (const auto zero = text.find('\0'); zero != std::string_view::npos)
    throw Error(ErrorKind::corrupt, fmt::format("{}: text is not JSON at offset {}", source, zero));
  Judge judge(source);
  try {
    return nlohmann::ordered_json::parse(text.begin(), text.end(), [&judge](int depth, auto event, auto& parsed) {
      return judge(depth, static_cast<nlohmann::json::parse_event_t>(event), parsed);
    });
  } catch (const nlohmann::json::parse_error& e) {
    throw Error(ErrorKind::corrupt, fmt::format("{}: text is not JSON at offset {}", source, e.byte > 0 ? e.byte - 1 : 0));
  } catch (const nlohmann::json::exception&) {
    throw Error(ErrorKind::corrupt, fmt::format("{}: JSON has a number out of range", source));
  }
}

}  // namespace nibble
