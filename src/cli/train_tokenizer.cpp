// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <filesystem>

#include "base/output_file.h"
#include "cli/option_checks.h"
#include "cli/places.h"
#include "cli/verbs.h"
#include "nibble/error.h"
#include "report/number_text.h"
#include "train/tokenizer_training.h"

namespace nibble::cli {
namespace {

struct Options {
  std::vector<std::string> texts;
  std::string output;
  TokenizerTrainingOptions training;
};

void write_file(const std::filesystem::path& path, std::string_view text) {
  OutputFile file(path);
  file.write(text);
  file.commit();
}

void train(const Options& options, Session& session) {
  Places places;
  places.reads("--text", options.texts);
  places.writes_directory("-o", options.output);
  places.judge();
  TokenizerTraining training(options.training);
  for (const std::string& text : options.texts) training.add(session.read_corpus(text));
  const TrainedTokenizer made = training.finish();
  std::error_code failure;
  std::filesystem::create_directories(options.output, failure);
  if (failure) throw Error(ErrorKind::io, fmt::format("{}: cannot be made: {}", options.output, failure.message()));
  write_file(std::filesystem::path(options.output) / "tokenizer.json", made.tokenizer_json);
  write_file(std::filesystem::path(options.output) / "tokenizer_config.json", made.tokenizer_config_json);
  if (session.json())
    return session.print_json({{"output", options.output},
                               {"tokens", options.training.size},
                               {"merges", made.merges},
                               {"words", made.words}});
  session.print(fmt::format("{}: {} tokens, {} of them merged from {} different words\n", options.output,
                            grouped_text(options.training.size), grouped_text(made.merges), grouped_text(made.words)));
}

}  // namespace

void add_train_tokenizer(CLI::App& app, Session& session) {
  const auto options = std::make_shared<Options>();
  CLI::App* const verb =
      app.add_subcommand("train-tokenizer", "Learn a byte-level BPE tokenizer from text: tokenizer.json");
  verb->footer(
      "Examples:\n  nibble train-tokenizer --text vocabulary.txt --size 3072 -o my-model\n  nibble train-tokenizer "
      "--text a.txt --text b.txt --size 8192 -o my-model --json\n\nThe merges are those that the Hugging Face "
      "tokenizers "
      "library learns from the same text.");
  verb->add_option("--text", options->texts, "Text in UTF-8 (may be repeated; '-': standard input)")
      ->required()
      ->type_name("FILE");
  verb->add_option("--size", options->training.size,
                   "Tokens in all: 2 special ones, 256 of bytes, the rest learned (default 3072)")
      ->type_name("N")
      ->check(count_within(1, kMostTokens));
  verb->add_option("--separator", options->training.separator,
                   "What stands between documents and is not learned from (default: two empty lines)")
      ->type_name("TEXT");
  verb->add_option("-o,--output", options->output, "Directory to write to; other files in it stay")
      ->required()
      ->type_name("DIR");
  session.add_force_text(*verb);
  session.add_json(*verb);
  verb->callback([options, &session] { train(*options, session); });
}

}  // namespace nibble::cli
