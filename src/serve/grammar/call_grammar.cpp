// SPDX-License-Identifier: Apache-2.0
#include "serve/grammar/call_grammar.h"

#include <algorithm>
#include <utility>

#include "serve/grammar/token_constraint.h"

namespace nibble::serve {

namespace {

bool is_control_token(const Tokenizer& tokenizer, const std::string& mark) {
  const std::vector<std::int32_t> ids = tokenizer.encode(mark, {.add_special = false, .parse_special = true});
  return ids.size() == 1 && tokenizer.is_special(ids.front());
}

class CallPen {
 public:
  CallPen(const ToolCallForm& form, const Tokenizer& tokenizer) {
    for (const std::string& mark : form.marks)
      if (is_control_token(tokenizer, mark)) controls_.push_back(mark);
  }

  GrammarRules draw(const ToolCallForm& form, std::span<const CallableTool> tools, bool several) {
    std::vector<GrammarSequence> calls;
    for (const CallableTool& tool : tools) {
      GrammarSequence call = text(form.head + tool.name + form.middle);
      call.push_back(GrammarRules::use(rules_.take(tool.arguments)));
      append(call, text(form.tail));
      calls.push_back(std::move(call));
    }
    const std::int32_t call = rules_.make();
    rules_.set(call, std::move(calls));
    GrammarSequence whole = text(form.begin);
    whole.push_back(GrammarRules::use(call));
    if (several && !form.is_alone) {
      GrammarSequence further = text(form.between);
      further.push_back(GrammarRules::use(call));
      whole.push_back(GrammarRules::use(rules_.repeat(further, 0, SIZE_MAX)));
    }
    append(whole, text(form.end));
    const std::int32_t root = rules_.make();
    rules_.set(root, {std::move(whole)});
    rules_.set_root(root);
    return std::move(rules_);
  }

 private:
  static void append(GrammarSequence& sequence, const GrammarSequence& more) {
    sequence.insert(sequence.end(), more.begin(), more.end());
  }
  GrammarSequence text(std::string text) const {
    for (const std::string& mark : controls_)
      for (std::size_t at = text.find(mark); at != std::string::npos; at = text.find(mark, at + mark.size() + 1))
        text.insert(at, 1, TokenList::kControl);
    return GrammarRules::text(text);
  }

  GrammarRules rules_;
  std::vector<std::string> controls_;
};

}  // namespace

GrammarRules grammar_of_calls(const ToolCallForm& form, std::span<const CallableTool> tools, bool several_calls,
                              const Tokenizer& tokenizer) {
  return CallPen(form, tokenizer).draw(form, tools, several_calls);
}

GrammarRules either(const GrammarRules& one, const GrammarRules& other) {
  GrammarRules rules;
  const std::int32_t first = rules.take(one), second = rules.take(other), root = rules.make();
  rules.set(root, {{GrammarRules::use(first)}, {GrammarRules::use(second)}});
  rules.set_root(root);
  return rules;
}

GrammarRules behind_new_lines(const GrammarRules& rules) {
  GrammarRules made;
  const std::int32_t blanks = made.repeat(GrammarRules::text("\n"), 0, 2), inner = made.take(rules), root = made.make();
  made.set(root, {{GrammarRules::use(blanks), GrammarRules::use(inner)}});
  made.set_root(root);
  return made;
}

}  // namespace nibble::serve
