// SPDX-License-Identifier: Apache-2.0
//
// A JSON schema (2020-12) as a grammar of the JSON texts that it admits, and nothing beside them: keywords that are not
// supported are refused by name. Objects have their properties in the schema's order. Pure.
//
// Supported: true, false; type (one or several), enum, const; properties, required, additionalProperties; items,
// prefixItems, minItems, maxItems; minLength, maxLength; anyOf; allOf of one; $ref into the schema itself, $defs.
// What describes and does not constrain is skipped.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "serve/grammar/grammar.h"

namespace nibble::serve {

// Error(unsupported) names a keyword and where it stands; Error(unusable_input): no schema.
GrammarRules grammar_of_schema(const nlohmann::ordered_json& schema);

// Objects of a schema as far as it can be kept: what is not supported of it, or is no schema, leaves its place open;
// properties are those that are named. For arguments whose caller has not asked for more. Error(resource).
GrammarRules grammar_of_loose_objects(const nlohmann::ordered_json& schema);

// Any JSON object.
GrammarRules grammar_of_objects();

}  // namespace nibble::serve
