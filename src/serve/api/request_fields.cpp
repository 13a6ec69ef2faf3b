// SPDX-License-Identifier: Apache-2.0
#include "serve/api/request_fields.h"

#include <fmt/format.h>

#include <array>
#include <cmath>
#include <limits>

#include "io/json_text.h"

namespace nibble::serve {

namespace {

constexpr auto kUndone = std::to_array<UndoneField>({
    {"functions", "[]", "tools tells of them"},
    {"function_call", "\"none\"", "tool_choice says it"},
    {"audio", nullptr, "answers are text"},
    {"modalities", "[\"text\"]", "answers are text"},
    {"web_search_options", nullptr},
    {"verbosity", "\"medium\""},
    {"suffix", "\"\""},
    {"typical_p", "1"},
    {"top_a", "0"},
    {"tfs_z", "1"},
    {"mirostat", "0"},
    {"dynatemp_range", "0"},
    {"xtc_probability", "0"},
    {"dry_multiplier", "0"},
    {"use_beam_search", "false"},
    {"length_penalty", "1"},
    {"min_tokens", "0"},
    {"min_length", "0"},
    {"stop_token_ids", "[]", "give the texts of these tokens as stop"},
    {"bad_words", "[]", "logit_bias forbids tokens"},
    {"allowed_token_ids", "[]"},
    {"guided_json", nullptr},
    {"guided_regex", nullptr},
    {"guided_choice", nullptr},
    {"guided_grammar", nullptr},
    {"structured_outputs", nullptr},
    {"continue_final_message", "false"},
    {"lora", "[]"},
});

constexpr std::size_t kMostMembers = 1024, kMostMembersInAll = 1U << 16U;

[[noreturn]] void refuse(std::string_view name, const std::string& what) {
  throw ApiError(400, fmt::format("{} must be {}", name, what), std::string(name));
}

}  // namespace

void MemberCount::add(std::string_view json) {
  std::vector<std::size_t> open;
  for (std::size_t i = 0; i < json.size(); ++i) {
    if (json[i] == '"') {
      for (++i; json[i] != '"'; ++i)
        if (json[i] == '\\') ++i;
    } else if (json[i] == '{') {
      open.push_back(0);
    } else if (json[i] == '}') {
      open.pop_back();
    } else if (json[i] == ':' && (++open.back() > kMostMembers || ++all_ > kMostMembersInAll)) {
      throw ApiError(400, fmt::format("the body has an object of more than {} keys, or more than {} in all",
                                      kMostMembers, kMostMembersInAll));
    }
  }
}

Json parse_body(std::string_view body) {
  if (body.empty()) throw ApiError(400, "the request has no body; send JSON");
  Json parsed;
  try {
    const std::string plain = plain_json(body, "the body");
    MemberCount().add(plain);
    parsed = Json::parse(plain);
  } catch (const Error& error) {
    throw ApiError(400, error.what());
  }
  if (!parsed.is_object()) throw ApiError(400, "the body must be a JSON object");
  return parsed;
}

const Json* RequestFields::find(std::string_view name) const {
  const auto found = body_.find(name);
  return found == body_.end() || found->is_null() ? nullptr : &*found;
}

double RequestFields::number(std::string_view name, double otherwise, double least, double most) const {
  const Json* const field = find(name);
  if (field == nullptr) return otherwise;
  const double value = field->is_number() ? field->get<double>() : std::numeric_limits<double>::quiet_NaN();
  if (!(value >= least && value <= most)) refuse(name, fmt::format("a number from {} to {}", least, most));
  return value;
}

std::uint64_t RequestFields::whole(std::string_view name, std::uint64_t otherwise, std::uint64_t least,
                                   std::uint64_t most) const {
  const Json* const field = find(name);
  if (field == nullptr) return otherwise;
  const auto fail = [&] { refuse(name, fmt::format("a whole number from {} to {}", least, most)); };
  if (field->is_number_float()) {  // 16.0 is whole
    const double value = field->get<double>();
    if (!(value >= static_cast<double>(least) && value <= std::min(static_cast<double>(most), 0x1p53)) ||
        value != std::floor(value))
      fail();
    return static_cast<std::uint64_t>(value);
  }
  if (!field->is_number_unsigned()) fail();
  const auto value = field->get<std::uint64_t>();
  if (value < least || value > most) fail();
  return value;
}

bool RequestFields::flag(std::string_view name, bool otherwise) const {
  const Json* const field = find(name);
  if (field == nullptr) return otherwise;
  if (!field->is_boolean()) refuse(name, "true or false");
  return field->get<bool>();
}

std::string RequestFields::text(std::string_view name, const std::string& otherwise) const {
  const Json* const field = find(name);
  if (field == nullptr) return otherwise;
  if (!field->is_string()) refuse(name, "a text");
  return field->get<std::string>();
}

std::vector<std::string> RequestFields::texts(std::string_view name, std::size_t most) const {
  const Json* const field = find(name);
  if (field == nullptr) return {};
  if (field->is_string()) return {field->get<std::string>()};
  const auto what = fmt::format("a text, or a list of at most {} texts", most);
  if (!field->is_array() || field->size() > most) refuse(name, what);
  std::vector<std::string> texts;
  for (const Json& text : *field) {
    if (!text.is_string()) refuse(name, what);
    texts.push_back(text.get<std::string>());
  }
  return texts;
}

std::vector<std::int32_t> RequestFields::ids(const Json& list, std::string_view name) {
  if (!list.is_array()) refuse(name, "a list of token ids");
  std::vector<std::int32_t> ids;
  for (const Json& id : list) {
    if (!id.is_number_unsigned() || id.get<std::uint64_t>() > std::numeric_limits<std::int32_t>::max())
      refuse(name, "a list of token ids");
    ids.push_back(id.get<std::int32_t>());
  }
  return ids;
}

void refuse_undone(const RequestFields& fields) { refuse_undone(fields, kUndone); }

void refuse_undone(const RequestFields& fields, std::span<const UndoneField> undone) {
  for (const UndoneField& one : undone) {
    const Json* const field = fields.find(one.name);
    if (field == nullptr) continue;
    if (one.neutral != nullptr && *field == Json::parse(one.neutral)) continue;
    throw ApiError(400,
                   fmt::format("{} is not supported, and would change the answer; leave it out{}{}", one.name,
                               one.instead.empty() ? "" : ": ", one.instead),
                   std::string(one.name), "unsupported_parameter");
  }
}

Json rest_of_chat(const Json& body, std::span<const std::string_view> others) {
  Json chat = {{"messages", Json::array()}};
  for (const auto& [name, value] : body.items())
    if (name != "messages" && std::ranges::find(others, name) == others.end()) chat[name] = value;
  return chat;
}

}  // namespace nibble::serve
