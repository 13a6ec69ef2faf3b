// SPDX-License-Identifier: Apache-2.0
#include "serve/grammar/json_schema.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <span>

#include "nibble/error.h"
#include "serve/grammar/schema_keywords.h"

namespace nibble::serve {

namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kMostItems = 1000, kMostLength = 10'000, kMostTypes = 7, kMostDepth = 64, kMostLooseDepth = 16;

// What is done with what is not supported.
enum class Beyond { is_refused, is_left_open };

class SchemaPen {
 public:
  explicit SchemaPen(const Json& root, Beyond beyond = Beyond::is_refused)
      : root_(root), is_loose_(beyond == Beyond::is_left_open) {
    // A blank, or a new line and an indentation.
    const std::int32_t indent = rules_.repeat({blanks(" \t")}, 0, 20);
    blank_ = add({{}, GrammarRules::text(" "), then(GrammarRules::text("\n"), indent)});
  }

  GrammarRules finish(std::int32_t rule) {
    rules_.set_root(rule);
    rules_.judge();
    return std::move(rules_);
  }

  std::int32_t any_value() {
    if (any_ >= 0) return any_;
    any_ = rules_.make();
    const std::int32_t any = any_;
    rules_.set(any, {{GrammarRules::use(any_object())},
                     {GrammarRules::use(list_of(any, 0, SIZE_MAX))},
                     {GrammarRules::use(string(0, SIZE_MAX))},
                     {GrammarRules::use(number(false))},
                     GrammarRules::text("true"),
                     GrammarRules::text("false"),
                     GrammarRules::text("null")});
    return any;
  }

  std::int32_t any_object() {
    if (any_object_ >= 0) return any_object_;
    any_object_ = rules_.make();
    rules_.set(any_object_, {{GrammarRules::use(object_of({}, any_value()))}});
    return any_object_;
  }

  std::int32_t value(const Json& schema, const std::string& where, std::size_t depth = 0) {
    if (!is_loose_) return judged_value(schema, where, depth);
    if (depth > kMostLooseDepth) return any_value();
    try {
      return judged_value(schema, where, depth);
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::resource) throw;
      return any_value();
    }
  }

  // Of a schema that has properties; -1: they are none.
  std::int32_t object_with_properties(const Json& schema) {
    try {
      return object(SchemaKeywords(schema).of_object(), "#", 0);
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::resource) throw;
      return -1;
    }
  }

 private:
  std::int32_t judged_value(const Json& schema, const std::string& where, std::size_t depth) {
    if (depth > kMostDepth) too_large(where);
    expect_room(where, 0);
    if (schema.is_boolean() && schema.get<bool>()) return any_value();
    if (!schema.is_object()) {
      if (schema.is_boolean()) unsupported(where, "a schema that admits nothing");
      malformed(where, "a schema is an object");
    }
    const SchemaKeywords keywords(schema);
    return of_keywords(is_loose_ ? keywords.loosened() : keywords, where, depth);
  }

  std::int32_t of_keywords(const SchemaKeywords& schema, const std::string& where, std::size_t depth) {
    for (const auto& [key, unused] : schema)
      if (!SchemaKeywords::is_known(key) && !SchemaKeywords::describes(key))
        unsupported(where, "the keyword " + std::string(key));
    const auto alone = [&](const char* key) {
      for (const auto& [other, unused] : schema)
        if (other != key && !SchemaKeywords::describes(other))
          unsupported(where, fmt::format("{} beside {}", other, key));
    };
    if (schema.contains("$ref")) return alone("$ref"), reference(schema["$ref"], where, depth);
    if (schema.contains("anyOf")) return alone("anyOf"), any_of(schema["anyOf"], where + "/anyOf", depth);
    if (schema.contains("allOf")) {
      alone("allOf");
      if (!schema["allOf"].is_array() || schema["allOf"].size() != 1) unsupported(where, "allOf of several schemas");
      return value(schema["allOf"][0], where + "/allOf/0", depth + 1);
    }
    if (schema.contains("const")) return literals({&schema["const"], 1}, schema, where);
    if (schema.contains("enum")) {
      if (!schema["enum"].is_array()) malformed(where, "enum is a list of values");
      return literals(schema["enum"].get_ref<const Json::array_t&>(), schema, where);
    }
    return typed(schema, where, depth);
  }

  [[noreturn]] static void too_large(const std::string& where) {
    throw Error(ErrorKind::resource, fmt::format("the schema is too large, or nests too deeply, at {}", where));
  }
  // For so many symbols more.
  void expect_room(const std::string& where, std::size_t symbols) const {
    if (symbols > GrammarRules::kMostSymbols || rules_.symbols() > GrammarRules::kMostSymbols - symbols)
      too_large(where);
  }
  [[noreturn]] static void unsupported(const std::string& where, const std::string& what) {
    throw Error(ErrorKind::unsupported, fmt::format("the schema at {} has what is not supported: {}", where, what));
  }
  [[noreturn]] static void malformed(const std::string& where, const std::string& what) {
    throw Error(ErrorKind::unusable_input, fmt::format("the schema at {} is none: {}", where, what));
  }

  std::int32_t add(std::vector<GrammarSequence> alternatives) {
    const std::int32_t rule = rules_.make();
    rules_.set(rule, std::move(alternatives));
    return rule;
  }
  static GrammarSymbol blanks(std::string_view bytes) {
    GrammarSymbol symbol;
    for (const char c : bytes) symbol.bytes.set(static_cast<unsigned char>(c));
    return symbol;
  }
  static GrammarSequence then(GrammarSequence sequence, std::int32_t rule) {
    sequence.push_back(GrammarRules::use(rule));
    return sequence;
  }
  static GrammarSequence join(std::initializer_list<GrammarSequence> parts) {
    GrammarSequence whole;
    for (const GrammarSequence& part : parts) whole.insert(whole.end(), part.begin(), part.end());
    return whole;
  }
  GrammarSequence blank() const { return {GrammarRules::use(blank_)}; }

  // A definition is one rule however often it is referred to, so that it may contain itself.
  std::int32_t reference(const Json& ref, const std::string& where, std::size_t depth) {
    if (!ref.is_string()) malformed(where, "$ref is a text");
    const auto path = ref.get<std::string>();
    if (!path.starts_with('#')) unsupported(where, "$ref to elsewhere: " + path);
    const auto found = references_.find(path);
    if (found != references_.end()) return found->second;
    const Json* target = nullptr;
    try {
      target = &root_.at(Json::json_pointer(path.substr(1)));
    } catch (const Json::exception&) {
      malformed(where, "$ref leads nowhere: " + path);
    }
    const std::int32_t rule = rules_.name(path);  // by which a rule that begins with itself is told
    references_[path] = rule;
    const std::int32_t inner = value(*target, path, depth + 1);
    rules_.set(rule, {{GrammarRules::use(inner)}});
    return rule;
  }

  std::int32_t any_of(const Json& schemas, const std::string& where, std::size_t depth) {
    if (!schemas.is_array() || schemas.empty()) malformed(where, "anyOf is a list of schemas");
    expect_room(where, 2 * schemas.size());
    std::vector<GrammarSequence> alternatives;
    for (std::size_t i = 0; i < schemas.size(); ++i)
      alternatives.push_back({GrammarRules::use(value(schemas[i], fmt::format("{}/{}", where, i), depth + 1))});
    return add(std::move(alternatives));
  }

  // Beside a type only those of that type are admitted.
  std::int32_t literals(std::span<const Json> values, const SchemaKeywords& schema, const std::string& where) {
    if (values.empty()) malformed(where, "enum is a list of values");
    for (const auto& [key, unused] : schema)
      if (key != "enum" && key != "const" && key != "type" && !SchemaKeywords::describes(key))
        unsupported(where, std::string(key) + " beside enum or const");
    if (schema.contains("enum") && schema.contains("const")) unsupported(where, "const beside enum");
    const std::vector<std::string> types =
        schema.contains("type") ? types_of(schema["type"], where) : std::vector<std::string>();
    std::vector<GrammarSequence> alternatives;
    std::size_t symbols = 0;
    for (const Json& one : values) {
      const auto is_of = [&](const std::string& type) {
        return type == "string"    ? one.is_string()
               : type == "integer" ? one.is_number_integer()
               : type == "number"  ? one.is_number()
               : type == "boolean" ? one.is_boolean()
               : type == "null"    ? one.is_null()
               : type == "array"   ? one.is_array()
                                   : one.is_object();
      };
      if (!types.empty() && std::ranges::none_of(types, is_of)) continue;
      const std::string text = one.dump();
      expect_room(where, symbols += text.size() + 1);
      alternatives.push_back(GrammarRules::text(text));
    }
    if (alternatives.empty()) unsupported(where, "a schema that admits nothing");
    return add(std::move(alternatives));
  }

  std::vector<std::string> types_of(const Json& type, const std::string& where) const {
    constexpr auto kTypes =
        std::to_array<std::string_view>({"string", "number", "integer", "boolean", "null", "array", "object"});
    std::vector<std::string> types;
    if (type.is_array() && type.size() > kMostTypes) malformed(where, "type names one twice");
    for (const Json& one : type.is_array() ? type : Json::array({type})) {
      if (!one.is_string() || std::ranges::find(kTypes, one.get<std::string>()) == kTypes.end())
        malformed(where, "there is no such type: " + one.dump());
      types.push_back(one.get<std::string>());
    }
    if (types.empty()) malformed(where, "type is empty");
    return types;
  }

  std::int32_t typed(const SchemaKeywords& schema, const std::string& where, std::size_t depth) {
    const bool says_type = schema.contains("type");
    std::vector<std::string> types;
    if (says_type)
      types = types_of(schema["type"], where);
    else if (schema.contains("properties") || schema.contains("required") || schema.contains("additionalProperties"))
      unsupported(where, "properties without type, which constrain objects and admit all else");
    else if (schema.contains("items") || schema.contains("prefixItems") || schema.contains("minItems") ||
             schema.contains("maxItems") || schema.contains("minLength") || schema.contains("maxLength"))
      unsupported(where, "a constraint without type, which admits values of all others");
    else
      return any_value();
    std::vector<GrammarSequence> alternatives;
    for (const std::string& type : types) {
      const std::int32_t rule = type == "string"    ? string(count(schema, "minLength", 0, kMostLength, where),
                                                             count(schema, "maxLength", SIZE_MAX, kMostLength, where))
                                : type == "number"  ? number(false)
                                : type == "integer" ? number(true)
                                : type == "boolean" ? add({GrammarRules::text("true"), GrammarRules::text("false")})
                                : type == "null"    ? add({GrammarRules::text("null")})
                                : type == "array"   ? array(schema, where, depth)
                                                    : object(schema, where, depth);
      alternatives.push_back({GrammarRules::use(rule)});
    }
    return add(std::move(alternatives));
  }

  std::size_t count(const SchemaKeywords& schema, const char* key, std::size_t otherwise, std::size_t most,
                    const std::string& where) const {
    if (!schema.contains(key)) return otherwise;
    if (!schema[key].is_number_unsigned()) malformed(where, fmt::format("{} is a whole number", key));
    if (schema[key].get<std::uint64_t>() > most) unsupported(where, fmt::format("{} above {}", key, most));
    return schema[key].get<std::size_t>();
  }

  // Code points but for '"', '\\' and control characters, and escapes; RFC 8259.
  std::int32_t character() {
    if (character_ >= 0) return character_;
    std::vector<GrammarSequence> alternatives;
    for (const auto& [first, last] :
         std::to_array<std::pair<char32_t, char32_t>>({{0x20, 0x21}, {0x23, 0x5b}, {0x5d, 0xd7ff}, {0xe000, 0x10ffff}}))
      std::ranges::move(GrammarRules::characters(first, last), std::back_inserter(alternatives));
    alternatives.push_back({blanks("\\"), blanks("\"\\/bfnrt")});
    // No halves of surrogate pairs: not d800 to dfff.
    const GrammarSymbol hex = blanks("0123456789abcdefABCDEF");
    alternatives.push_back({blanks("\\"), blanks("u"), blanks("0123456789abcefABCEF"), hex, hex, hex});
    alternatives.push_back({blanks("\\"), blanks("u"), blanks("dD"), blanks("01234567"), hex, hex});
    return character_ = add(std::move(alternatives));
  }
  std::int32_t string(std::size_t least, std::size_t most) {
    const auto key = std::pair(least, most);
    const auto found = strings_.find(key);
    if (found != strings_.end()) return found->second;
    if (most < least) throw Error(ErrorKind::unsupported, "the schema has a maxLength below a minLength");
    const std::int32_t inner = rules_.repeat({GrammarRules::use(character())}, least, most);
    return strings_[key] =
               add({join({GrammarRules::text("\""), {GrammarRules::use(inner)}, GrammarRules::text("\"")})});
  }
  std::int32_t number(bool is_whole) {
    std::int32_t& rule = is_whole ? integer_ : number_;
    if (rule >= 0) return rule;
    const GrammarSymbol digit = blanks("0123456789");
    const std::int32_t sign = add({{}, GrammarRules::text("-")}), more = rules_.repeat({digit}, 0, 15),
                       whole = add({GrammarRules::text("0"), {blanks("123456789"), GrammarRules::use(more)}});
    if (is_whole) return rule = add({{GrammarRules::use(sign), GrammarRules::use(whole)}});
    const std::int32_t digits = rules_.repeat({digit}, 1, 16),
                       fraction = add({{}, then(GrammarRules::text("."), digits)}),
                       exponent_sign = add({{}, {blanks("+-")}}), exponent_digits = rules_.repeat({digit}, 1, 3),
                       exponent = add(
                           {{}, {blanks("eE"), GrammarRules::use(exponent_sign), GrammarRules::use(exponent_digits)}});
    return rule = add({{GrammarRules::use(sign), GrammarRules::use(whole), GrammarRules::use(fraction),
                        GrammarRules::use(exponent)}});
  }

  std::int32_t list_of(std::int32_t item, std::size_t least, std::size_t most) {
    if (most == 0) return add({join({GrammarRules::text("["), blank(), GrammarRules::text("]")})});
    const GrammarSequence further = join({GrammarRules::text(","), blank(), {GrammarRules::use(item)}});
    const std::int32_t rest = rules_.repeat(further, least > 0 ? least - 1 : 0, most == SIZE_MAX ? SIZE_MAX : most - 1);
    GrammarSequence some = join({GrammarRules::text("["),
                                 blank(),
                                 {GrammarRules::use(item)},
                                 {GrammarRules::use(rest)},
                                 blank(),
                                 GrammarRules::text("]")});
    if (least > 0) return add({std::move(some)});
    return add({std::move(some), join({GrammarRules::text("["), blank(), GrammarRules::text("]")})});
  }

  std::int32_t array(const SchemaKeywords& schema, const std::string& where, std::size_t depth) {
    const std::size_t least = count(schema, "minItems", 0, kMostItems, where),
                      most = count(schema, "maxItems", SIZE_MAX, kMostItems, where);
    if (most < least) unsupported(where, "maxItems below minItems");
    if (!schema.contains("prefixItems")) {
      const std::int32_t item =
          schema.contains("items") ? value(schema["items"], where + "/items", depth + 1) : any_value();
      return list_of(item, least, most);
    }
    // As many as are named, and no more.
    const Json& named = schema["prefixItems"];
    if (!named.is_array() || named.empty()) malformed(where, "prefixItems is a list of schemas");
    if (least != named.size() || !schema.contains("items") || schema["items"] != false || schema.contains("maxItems"))
      unsupported(where, "prefixItems without minItems of their number and items: false");
    GrammarSequence whole = join({GrammarRules::text("["), blank()});
    for (std::size_t i = 0; i < named.size(); ++i) {
      if (i > 0) whole = join({whole, GrammarRules::text(","), blank()});
      whole = then(std::move(whole), value(named[i], fmt::format("{}/prefixItems/{}", where, i), depth + 1));
    }
    return add({join({whole, blank(), GrammarRules::text("]")})});
  }

  struct Property {
    std::string name;
    std::int32_t value;
    bool is_required;
  };

  std::int32_t object(const SchemaKeywords& schema, const std::string& where, std::size_t depth) {
    std::vector<Property> properties;
    const Json none = Json::object(), nothing = Json::array();
    const Json& named = schema.contains("properties") ? schema["properties"] : none;
    const Json& required = schema.contains("required") ? schema["required"] : nothing;
    if (!named.is_object()) malformed(where, "properties is an object");
    if (!required.is_array() && !is_loose_) malformed(where, "required is a list of names");
    std::map<std::string, std::size_t, std::less<>> places;
    for (const auto& [name, property] : named.items()) {
      expect_room(where, 2 * name.size());
      places[name] = properties.size();
      properties.push_back({name, value(property, where + "/properties/" + name, depth + 1), false});
    }
    std::int32_t further = -1;
    if (!schema.contains("additionalProperties") || schema["additionalProperties"] == true) {
      further = properties.empty() ? any_value() : -1;  // beside named ones none is as good as some: all are optional
    } else if (schema["additionalProperties"] != false) {
      if (!properties.empty()) unsupported(where, "additionalProperties with a schema beside properties");
      further = value(schema["additionalProperties"], where + "/additionalProperties", depth + 1);
    }
    for (const Json& name : required.is_array() ? required : nothing) {
      if (!name.is_string() && !is_loose_) malformed(where, "required is a list of names");
      const auto found = name.is_string() ? places.find(name.get_ref<const std::string&>()) : places.end();
      if (found != places.end())
        properties[found->second].is_required = true;
      else if (!is_loose_)
        unsupported(where, "a required property that is not described: " + name.dump());
    }
    return object_of(properties, further);
  }

  // In their order; of a text's properties each may be the first. further: of properties of any name; -1: none.
  std::int32_t object_of(const std::vector<Property>& properties, std::int32_t further) {
    const GrammarSequence open = join({GrammarRules::text("{"), blank()}),
                          close = join({blank(), GrammarRules::text("}")});
    const GrammarSequence comma = join({GrammarRules::text(","), blank()});
    if (properties.empty()) {
      const GrammarSequence empty = join({open, GrammarRules::text("}")});
      if (further < 0) return add({empty});
      const GrammarSequence one = join(
          {{GrammarRules::use(string(0, SIZE_MAX))}, GrammarRules::text(":"), blank(), {GrammarRules::use(further)}});
      const std::int32_t rest = rules_.repeat(join({comma, one}), 0, SIZE_MAX);
      return add({join({open, one, {GrammarRules::use(rest)}, close}), empty});
    }
    // What may follow property i - 1: with a comma before the next one, or, where none has come yet, without.
    std::int32_t rest_after = add({{}}), rest_first = rest_after;
    for (std::size_t i = properties.size(); i-- > 0;) {
      const Property& property = properties[i];
      const GrammarSequence one = join({GrammarRules::text(Json(property.name).dump() + ":"),
                                        blank(),
                                        {GrammarRules::use(property.value)},
                                        {GrammarRules::use(rest_after)}});
      std::vector<GrammarSequence> after = {join({comma, one})}, first = {one};
      if (!property.is_required) {
        after.push_back({GrammarRules::use(rest_after)});
        first.push_back({GrammarRules::use(rest_first)});
      }
      rest_after = add(std::move(after));
      rest_first = add(std::move(first));
    }
    return add({join({open, {GrammarRules::use(rest_first)}, close})});
  }

  const Json& root_;
  bool is_loose_;
  GrammarRules rules_;
  std::int32_t blank_ = 0, any_ = -1, any_object_ = -1, character_ = -1, number_ = -1, integer_ = -1;
  std::map<std::string, std::int32_t> references_;
  std::map<std::pair<std::size_t, std::size_t>, std::int32_t> strings_;
};

}  // namespace

GrammarRules grammar_of_schema(const nlohmann::ordered_json& schema) {
  SchemaPen pen(schema);
  return pen.finish(pen.value(schema, "#"));
}

GrammarRules grammar_of_loose_objects(const nlohmann::ordered_json& schema) {
  const auto any = [&] {
    SchemaPen pen(schema);
    return pen.finish(pen.any_object());
  };
  if (!schema.is_object() || !schema.contains("properties")) return any();
  SchemaPen pen(schema, Beyond::is_left_open);
  const std::int32_t rule = pen.object_with_properties(schema);
  if (rule < 0) return any();
  try {
    return pen.finish(rule);
  } catch (const Error&) {  // a definition that begins with itself
    return any();
  }
}

GrammarRules grammar_of_objects() {
  const Json none = Json::object();
  SchemaPen pen(none);
  return pen.finish(pen.any_object());
}

}  // namespace nibble::serve
