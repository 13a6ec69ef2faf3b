// SPDX-License-Identifier: Apache-2.0
//
// Pairs of a text and its translation (or any other rewriting), generated and compared by BLEU. Reads JSON lines:
// {"prompt", "target"} as they stand, {"source", "target"}, or the Hub's {"translation": {"de": ..., "en": ...}}, from
// the first language into the second.
#include <fmt/format.h>

#include <array>

#include "evaluate/tasks/all.h"
#include "evaluate/tasks/task_file.h"

namespace nibble {
namespace {

constexpr std::string_view kStop[] = {"\n"};

constexpr std::array<std::pair<std::string_view, std::string_view>, 16> kLanguages = {{{"ar", "Arabic"},
                                                                                       {"cs", "Czech"},
                                                                                       {"de", "German"},
                                                                                       {"en", "English"},
                                                                                       {"es", "Spanish"},
                                                                                       {"fi", "Finnish"},
                                                                                       {"fr", "French"},
                                                                                       {"hi", "Hindi"},
                                                                                       {"it", "Italian"},
                                                                                       {"ja", "Japanese"},
                                                                                       {"nl", "Dutch"},
                                                                                       {"pt", "Portuguese"},
                                                                                       {"ro", "Romanian"},
                                                                                       {"ru", "Russian"},
                                                                                       {"tr", "Turkish"},
                                                                                       {"zh", "Chinese"}}};

std::string language(std::string_view code) {
  for (const auto& [known, name] : kLanguages)
    if (known == code) return std::string(name);
  return std::string(code);
}

std::vector<Question> read(const TaskFile& file) {
  std::vector<Question> questions;
  for (const TaskRecord& record : json_records(file)) {
    Question question{.line = record.line()};
    if (record.has("translation")) {
      const auto& pair = record["translation"];
      if (!pair.is_object() || pair.size() != 2 || !pair.begin()->is_string() || !std::next(pair.begin())->is_string())
        record.refuse("\"translation\" needs two languages");
      const auto source = pair.begin(), target = std::next(source);
      question.prompt = fmt::format("{} phrase: {}\n{} phrase:", language(source.key()), source->get<std::string>(),
                                    language(target.key()));
      question.reference = target->get<std::string>();
    } else {
      question.prompt = record.has("prompt") ? record.text("prompt") : "Source: " + record.text("source") + "\nTarget:";
      question.reference = record.text("target");
    }
    if (trimmed_text(question.reference).empty()) record.refuse("the reference is empty");
    questions.push_back(std::move(question));
  }
  return questions;
}

}  // namespace

const Task kBleu{.name = "bleu",
                 .description = "translations and other rewritings, by generation",
                 .kind = TaskKind::bleu,
                 .stop = kStop,
                 .read = read};

}  // namespace nibble
