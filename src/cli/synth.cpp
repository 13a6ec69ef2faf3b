// SPDX-License-Identifier: Apache-2.0
#include "pipeline/synth.h"

#include <fmt/format.h>

#include "cli/option_checks.h"
#include "cli/places.h"
#include "cli/verbs.h"
#include "nibble/error.h"
#include "report/number_text.h"

namespace nibble::cli {
namespace {

struct Options {
  std::string shape;
  SynthShape numbers;
  SynthOptions request;
  std::string output;
};

// A named shape with what is given beside its name in place of its own.
SynthShape changed_shape(const CLI::App& verb, SynthShape shape, const SynthShape& given) {
  const SynthShape named = shape;
  const auto take = [&](const char* option, std::uint64_t SynthShape::* number) {
    if (verb.count(option) > 0) shape.*number = given.*number;
  };
  take("--hidden", &SynthShape::hidden);
  take("--ffn", &SynthShape::intermediate);
  take("--layers", &SynthShape::layers);
  take("--heads", &SynthShape::heads);
  take("--kv-heads", &SynthShape::kv_heads);
  take("--head-dim", &SynthShape::head_dim);
  take("--vocab", &SynthShape::vocab);
  take("--context", &SynthShape::context);
  take("--experts", &SynthShape::num_experts);
  take("--experts-used", &SynthShape::experts_used);
  take("--expert-ffn", &SynthShape::expert_intermediate);
  shape.tied = shape.tied || given.tied;
  const bool heads_differ = shape.hidden != named.hidden || shape.heads != named.heads;
  if (verb.count("--head-dim") == 0 && heads_differ && shape.heads != 0) shape.head_dim = shape.hidden / shape.heads;
  // The same share of a head is turned by positions.
  if (shape.rotary_dim != 0 && named.head_dim != 0)
    shape.rotary_dim = std::max<std::uint64_t>(2, shape.rotary_dim * shape.head_dim / named.head_dim / 2 * 2);
  const bool is_changed = shape.hidden != named.hidden || shape.intermediate != named.intermediate ||
                          shape.layers != named.layers || shape.heads != named.heads ||
                          shape.kv_heads != named.kv_heads || shape.head_dim != named.head_dim ||
                          shape.vocab != named.vocab || shape.context != named.context || shape.tied != named.tied ||
                          shape.num_experts != named.num_experts || shape.experts_used != named.experts_used ||
                          shape.expert_intermediate != named.expert_intermediate;
  if (is_changed) shape.name += " (changed)";
  return shape;
}

void synth(const CLI::App& verb, Options& options, Session& session) {
  Places places;
  places.writes_directory("--output", options.output);
  places.judge();
  const bool has_experts = !options.shape.empty() && find_synth_shape(options.shape).num_experts > 0;
  for (const char* const option : {"--experts", "--experts-used", "--expert-ffn"})
    refuse_without_effect(verb, option, has_experts, "without a shape that has experts (--shape mixtral-8x7b)");
  SynthShape shape = options.numbers;
  if (!options.shape.empty()) {
    shape = changed_shape(verb, find_synth_shape(options.shape), options.numbers);
  } else {
    shape.name = "custom";
    if (shape.hidden == 0 || shape.intermediate == 0 || shape.layers == 0 || shape.heads == 0)
      throw Error(ErrorKind::invalid_argument,
                  "name a shape (--shape llama-3.2-1b) or give at least --hidden, --ffn, --layers and --heads");
    if (shape.kv_heads == 0) shape.kv_heads = shape.heads;
    if (shape.head_dim == 0) shape.head_dim = shape.hidden / shape.heads;
  }
  options.request.output = options.output;
  const SynthSummary summary = synthesize_model(shape, options.request, session.pool(), session.progress());
  if (session.json()) return session.print_json(to_json(summary));
  session.print(fmt::format("{}: {} parameters, {}\n", summary.output.string(), count_text(summary.parameters),
                            bytes_text(summary.bytes)));
}

}  // namespace

void add_synth(CLI::App& app, Session& session) {
  const auto options = std::make_shared<Options>();
  options->numbers.vocab = 32000;
  options->numbers.context = 2048;
  std::string shapes;
  for (const SynthShape& shape : list_synth_shapes()) shapes += (shapes.empty() ? "" : ", ") + shape.name;
  CLI::App* const verb =
      app.add_subcommand("synth", "Write a model of random weights in a real model's shape, to measure size and speed");
  verb->footer(
      "Examples:\n"
      "  nibble synth --shape llama-3.2-1b -o synth-1b\n"
      "  nibble synth --hidden 512 --ffn 1536 --layers 8 --heads 8 --kv-heads 4 -o small\n"
      "  nibble synth --shape qwen3-30b-a3b --hidden 256 --layers 2 --heads 4 --experts 8 --experts-used 2 "
      "--expert-ffn 256 --vocab 2000 -o small-moe\n\n"
      "Shapes: " +
      shapes);
  verb->add_option("--shape", options->shape, "A named shape; the options below change it");
  verb->add_option("--hidden", options->numbers.hidden, "Hidden size");
  verb->add_option("--ffn", options->numbers.intermediate, "Feed-forward size");
  verb->add_option("--layers", options->numbers.layers, "Number of layers");
  verb->add_option("--heads", options->numbers.heads, "Number of attention heads");
  verb->add_option("--kv-heads", options->numbers.kv_heads, "Number of key/value heads (default: as many as heads)");
  verb->add_option("--head-dim", options->numbers.head_dim, "Size of a head (default: hidden / heads)");
  verb->add_option("--vocab", options->numbers.vocab, "Vocabulary")->capture_default_str();
  verb->add_option("--context", options->numbers.context, "Longest context")->capture_default_str();
  verb->add_option("--experts", options->numbers.num_experts, "Experts in a layer, of shapes that have some");
  verb->add_option("--experts-used", options->numbers.experts_used, "To how many of them a token is sent");
  verb->add_option("--expert-ffn", options->numbers.expert_intermediate,
                   "Feed-forward size of an expert (default: of shapes that say none, --ffn)");
  verb->add_flag("--tied", options->numbers.tied, "The embedding is the head, too");
  verb->add_option("--dtype", options->request.dtype, "bf16 or f16")->capture_default_str();
  verb->add_option("--seed", options->request.seed, "Another seed gives other weights")->capture_default_str();
  verb->add_option("-o,--output", options->output, "Directory to write")->required();
  session.add_json(*verb);
  session.add_threads(*verb);
  verb->callback([options, verb, &session] { synth(*verb, *options, session); });
}

}  // namespace nibble::cli
