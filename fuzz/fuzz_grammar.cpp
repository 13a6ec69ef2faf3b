// SPDX-License-Identifier: Apache-2.0
//
// Any bytes as a grammar: behind an 's' a JSON schema, else GBNF; and a text walked through it.
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string_view>

#include "io/json_text.h"
#include "nibble/error.h"
#include "serve/grammar/gbnf.h"
#include "serve/grammar/grammar.h"
#include "serve/grammar/json_schema.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace nibble;
  using namespace nibble::serve;
  if (size == 0 || size > 4096) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  try {
    GrammarMachine machine(data[0] == 's' ? grammar_of_schema(parse_json(text, "schema")) : parse_gbnf(text));
    (void)machine.next(machine.begin(), R"({"a": [1, "b"]})");
    (void)machine.next(machine.begin(), text.substr(0, 200));
  } catch (const Error&) {
    return 0;
  }
  return 0;
}
