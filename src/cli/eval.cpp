// SPDX-License-Identifier: Apache-2.0
#include <optional>

#include "cli/verbs.h"
#include "nibble/error.h"
#include "pipeline/judge_models.h"
#include "report/verdict_json.h"
#include "report/verdict_tables.h"

namespace nibble::cli {
namespace {

struct Options {
  std::vector<std::string> models, texts;
  std::string against, accept, protocol = "llama.cpp";
  std::size_t context = 0, windows = 0;
  bool markdown = false;
};

void print(const PairedVerdict& verdict, const std::vector<Acceptance>& acceptances, const Options& options, Session& session) {
  const VerdictTextOptions style{options.markdown, session.style(), options.against};
  if (!session.json()) {
    std::string text = verdict_text(verdict, style);
    for (std::size_t i = 0; i < acceptances.size(); ++i) text += acceptance_text(acceptances[i], verdict, verdict.candidates[i].name, style);
    return session.print(text);
  }
  Json json = to_json(verdict);
  for (std::size_t i = 0; i < acceptances.size(); ++i) json["candidates"][i]["acceptance"] = to_json(acceptances[i]);
  session.print_json(json);
}

void evaluate(const Options& options, Session& session) {
  if (options.models.size() > 1 && options.against.empty())
    throw Error(ErrorKind::invalid_argument, "several models are judged against their original; add --against ORIGINAL");
  if (!options.accept.empty() && options.against.empty())
    throw Error(ErrorKind::invalid_argument, "what is accepted is judged against an original; add --against ORIGINAL");
  const std::vector<Requirement> requirements = options.accept.empty() ? std::vector<Requirement>{} : parse_requirements(options.accept);
  JudgeOptions request;
  request.kernels = session.kernels();
  request.kv = session.kv();
  request.windows = {parse_protocol(options.protocol), options.context, options.windows};
  request.progress = session.progress();
  request.keep_partial = true;
  const std::vector<NamedText> texts = read_named_texts(options.texts);
  std::vector<Checkpoint> checkpoints;
  for (const std::string& model : options.models) checkpoints.push_back(Checkpoint::open(model));
  std::optional<Checkpoint> original;
  std::vector<NamedCheckpoint> candidates;
  if (!options.against.empty()) {
    original = Checkpoint::open(options.against);
    for (std::size_t i = 0; i < checkpoints.size(); ++i) candidates.push_back({options.models[i], &checkpoints[i]});
  }
  const PairedVerdict verdict = judge_models(original ? *original : checkpoints.front(), candidates, texts, request, session.pool());
  std::vector<Acceptance> acceptances;
  if (!requirements.empty())
    for (std::size_t i = 0; i < verdict.candidates.size(); ++i) acceptances.push_back(accept(verdict, i, requirements));
  print(verdict, acceptances, options, session);
  session.set_exit_code(exit_code_of(acceptances));
  if (verdict.partial()) throw Error(ErrorKind::cancelled, "stopped early; the figures cover what was read until then");
}

}  // namespace

void add_eval(CLI::App& app, Session& session) {
  const auto options = std::make_shared<Options>();
  CLI::App* const verb = app.add_subcommand("eval", "Perplexity of a model on a text, and what quantization changed");
  verb->footer(
      "Examples:\n  nibble eval models/tale-4M --text models/tale-4M/heldout.txt\n"
      "  nibble eval tale.gguf --against models/tale-4M --text models/tale-4M/heldout.txt\n"
      "  nibble eval q4.gguf q3.gguf --against model --text stories.txt wiki.txt --markdown\n"
      "  nibble eval tale.gguf --text wiki.txt --protocol paper --context 2048 --json\n\n"
      "Protocols: llama.cpp (windows of 512, the second half scored), paper (windows of 2048, every token but the first scored).");
  verb->add_option("models", options->models, "Models to judge: Hugging Face directories or .gguf files")->required();
  verb->add_option("--text", options->texts, "Text files ('-': standard input)")->required();
  verb->add_option("--against", options->against, "The original: what each model changed, with 95 % intervals, all models in one pass");
  verb->add_option("--accept", options->accept, "What is required, as in \"kl<=0.02, top1>=0.97, ppl_ratio<=1.02\": exits 0 accepted, 3 rejected, 4 undecided");
  verb->add_option("--protocol", options->protocol, "llama.cpp or paper")->capture_default_str();
  verb->add_option("--context", options->context, "Tokens in a window (default: the protocol's)");
  verb->add_option("--windows", options->windows, "Use only the first N windows");
  verb->add_flag("--markdown", options->markdown, "Print a section for a model card");
  session.add_json(*verb);
  session.add_engine(*verb);
  verb->callback([options, &session] { evaluate(*options, session); });
}

}  // namespace nibble::cli
