// SPDX-License-Identifier: Apache-2.0
#include "pipeline/tell/memory_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "base/quantity.h"
#include "engine/crossing_values.h"
#include "engine/decoder.h"
#include "engine/program.h"
#include "engine/remembered_sequence.h"
#include "io/checkpoint.h"
#include "model/arch/architecture.h"
#include "nibble/error.h"
#include "pipeline/quantize/quantize_plan.h"
#include "pipeline/synth.h"
#include "pipeline/tell/source_notes.h"
#include "pipeline/tell/token_work.h"

namespace nibble {
namespace {

constexpr std::uint64_t kUsualContext = 8192;
constexpr std::uint64_t kLongestContext = std::uint64_t{1} << 24;
constexpr std::uint64_t kPromptBatch = 512;                  // tokens of a prompt read at a time
constexpr std::uint64_t kCacheChunk = 64, kCacheGroup = 32;  // positions and dimensions that the cache is rounded up to
constexpr std::size_t kQuantizedCache = 1;                   // of kCacheTypes: q8_0, as Decoder chooses
constexpr std::uint64_t kLeastHeadroom = 256'000'000;

// A model's dimensions, and how they were come by.
struct Basis {
  ModelConfig config;
  std::string shape;
  std::uint64_t parameters = 0;
  double scaled = 1;
  std::string note = {};
};

std::uint64_t elements_of(const ModelTensor& tensor) {
  std::uint64_t elements = 1;
  for (const std::uint64_t extent : tensor.shape) elements *= extent;
  return elements;
}

std::uint64_t parameters_of(const ModelConfig& config) {
  const ModelTensors model(config);
  std::uint64_t sum = 0;
  for (const ModelTensor& tensor : model.all()) sum += elements_of(tensor);
  return sum;
}

Basis basis_of_size(std::uint64_t parameters, const std::string& text) {
  if (parameters < 1'000'000)
    throw Error(ErrorKind::invalid_argument, fmt::format("a model has at least a million parameters: '{}'", text));
  Basis basis;
  double nearest = HUGE_VAL;
  for (const SynthShape& shape : list_synth_shapes()) {
    const ModelConfig config = synth_config(shape);
    if (config.num_experts != 0) continue;  // a size says nothing of experts
    const double scale = static_cast<double>(parameters) / static_cast<double>(parameters_of(config));
    if (std::fabs(std::log(scale)) >= nearest) continue;
    nearest = std::fabs(std::log(scale));
    basis = {config, shape.name, parameters, scale};
  }
  // "8B" means a model of about that size, and names round: what is within a twentieth of a shape is that shape.
  if (std::fabs(basis.scaled - 1) < 0.05) {
    basis.parameters = parameters_of(basis.config);
    basis.scaled = 1;
  }
  return basis;
}

Basis find_basis(const std::string& model) {
  std::error_code ignored;
  if (std::filesystem::exists(model, ignored)) {
    const SourceModel source = SourceModel::open(model);
    source.require_parts();
    const ModelConfig& config = source.config();
    return {config, config.architecture, parameters_of(config), 1, tokenizer_note(source)};
  }
  for (const SynthShape& shape : list_synth_shapes())
    if (shape.name == model) return {synth_config(shape), shape.name, parameters_of(synth_config(shape)), 1};
  if (const auto parameters = parse_count(model)) return basis_of_size(*parameters, model);
  std::string shapes;
  for (const SynthShape& shape : list_synth_shapes()) shapes += (shapes.empty() ? "" : ", ") + shape.name;
  throw Error(ErrorKind::invalid_argument,
              fmt::format("'{}' is neither a model's directory or file, nor a size such as 70B, nor a known shape: {}",
                          model, shapes));
}

std::uint64_t scaled_bytes(std::uint64_t bytes, double scale) {
  return scale == 1 ? bytes : static_cast<std::uint64_t>(std::llround(static_cast<double>(bytes) * scale));
}

PlannedWeights plan_weights(const Basis& basis, const std::string& spelling) {
  const Recipe recipe = find_recipe(spelling);
  const FormatPtr source = find_format("f16");
  const bool in_gguf = !covers_linears_only(recipe);
  PlannedWeights planned;
  planned.format = spelling;
  std::uint64_t stored_bytes = 0;
  const ModelTensors model(basis.config);
  for (const ModelTensor& tensor : model.all()) {
    const TensorFacts facts = tensor_facts(tensor, basis.config);
    Assignment assignment;
    if (!stays_in_float(tensor.role)) assignment = assign(recipe, facts, source);
    const FormatPtr format = stays_in_float(tensor.role) ? find_format(in_gguf ? "f32" : "f16") : assignment.format;
    ++planned.tensors;
    if (!assignment.wanted.empty()) ++planned.substitutions;
    if (format->info().kind != FormatKind::raw) planned.usual_cache = kQuantizedCache;
    stored_bytes += plane_bytes(*format, facts.rows, facts.cols);
    const FormatPtr running = running_format(tensor, basis.config, format);
    const std::uint64_t bytes = plane_bytes(*running, facts.rows, facts.cols);
    planned.bytes += bytes;
    planned.bytes_per_token += scaled_bytes(bytes, share_read(tensor, basis.config));
  }
  planned.bytes = scaled_bytes(planned.bytes, basis.scaled);
  planned.bytes_per_token = scaled_bytes(planned.bytes_per_token, basis.scaled);
  planned.bits_per_weight =
      8 * static_cast<double>(scaled_bytes(stored_bytes, basis.scaled)) / static_cast<double>(basis.parameters);
  return planned;
}

// What each token adds to a layer; dimensions of a head are rounded up to whole groups.
std::uint64_t bytes_of_position(const KeyValueState& state, double bits) {
  const std::uint64_t numbers = (state.values_are_keys ? 1 : 2) * state.kv_heads *
                                ((state.head_dim + kCacheGroup - 1) / kCacheGroup * kCacheGroup);
  return static_cast<std::uint64_t>(static_cast<double>(numbers) * bits / 8);
}

// What a sequence remembers.
struct Memory {
  std::vector<KeyValueState> states;
  std::uint64_t recurrent_bytes = 0;
};

Memory memory_of(const Network& network) {
  Memory memory{network.states()};
  for (const RecurrentState& state : network.recurrent_states())
    memory.recurrent_bytes += state.numbers * sizeof(float);
  return memory;
}

std::uint64_t cache_bytes(const Memory& memory, std::uint64_t context, double bits) {
  std::uint64_t bytes = memory.recurrent_bytes;
  for (const KeyValueState& state : memory.states)
    bytes += kept_positions(state, context) * bytes_of_position(state, bits);
  return bytes;
}

// Tokens, in whole chunks, of the longest context whose cache takes no more than `bytes`; at most `most`.
std::uint64_t longest_context(const Memory& memory, double bits, std::uint64_t bytes, std::uint64_t most) {
  std::uint64_t fits = 0, too_long = (most + kCacheChunk - 1) / kCacheChunk + 1;
  while (too_long - fits > 1) {
    const std::uint64_t middle = fits + (too_long - fits) / 2;
    (cache_bytes(memory, middle * kCacheChunk, bits) <= bytes ? fits : too_long) = middle;
  }
  return std::min(fits * kCacheChunk, most);
}

// The residual stream, what crosses from layer to layer beside it and what the widest drawing keeps, in f32; one row of
// logits.
std::uint64_t activation_bytes(const ModelConfig& config, const Network& network) {
  std::uint64_t beside = 0;
  RotaryTables tables;
  CrossingValues crossing;
  const auto widen = [&](const Graph& graph) {
    beside = std::max(beside, Program(graph, span_beside_states(graph), tables).numbers_per_token());
  };
  crossing.add(network.begin().graph, Network::kBegin);
  if (!network.begin().graph.passed.empty()) widen(network.begin().graph);
  for (std::int64_t i = 0; i < network.num_layers(); ++i) {
    crossing.add(network.layer(i).graph, i);
    if (i > 0 && &network.layer(i) == &network.layer(i - 1)) continue;  // alike
    widen(network.layer(i).graph);
  }
  return 4 * (kPromptBatch * (config.hidden + crossing.numbers_per_token() + beside) + config.vocab_size);
}

void judge(const MemoryPlanRequest& request) {
  if (request.memory == 0) throw Error(ErrorKind::invalid_argument, "no memory is given", "memory");
  if (request.context > kLongestContext)
    throw Error(ErrorKind::invalid_argument,
                fmt::format("a context has at most {} tokens: {}", kLongestContext, request.context));
  if (!(request.bandwidth >= 0) || std::isinf(request.bandwidth))
    throw Error(ErrorKind::invalid_argument,
                fmt::format("a bandwidth is a finite number of bytes per second, 0 where it is not known: {}",
                            request.bandwidth));
}

void measure_against(const MemoryPlan& plan, const Memory& memory, PlannedWeights& weights) {
  for (std::size_t type = 0; type < kCacheTypes.size(); ++type) {
    const std::uint64_t left = plan.usable() > weights.bytes ? plan.usable() - weights.bytes : 0;
    weights.fits[type] = left > 0 && plan.cache_bytes[type] <= left;
    weights.longest[type] = longest_context(memory, kCacheTypes[type].bits, left,
                                            plan.model_context != 0 ? plan.model_context : kLongestContext);
  }
  if (plan.bandwidth <= 0) return;
  weights.fastest = plan.bandwidth / static_cast<double>(weights.bytes_per_token);
  weights.fastest_full =
      plan.bandwidth / static_cast<double>(weights.bytes_per_token + plan.cache_bytes[weights.usual_cache]);
}

}  // namespace

std::vector<std::string> default_plan_formats() {
  return {"f16",    "q8_0",  "int8:row",    "q6_k",     "q5_k_m", "q4_k_m",      "int4:g128", "mix:iq4_xs",
          "q3_k_m", "iq3_m", "mix:iq3_xxs", "mix:q2_k", "iq2_m",  "mix:iq2_xxs", "mix:iq1_m"};
}

MemoryPlan plan_memory(const MemoryPlanRequest& request) {
  judge(request);
  const Basis basis = find_basis(request.model);
  const ModelConfig& config = basis.config;
  MemoryPlan plan;
  plan.model = request.model;
  plan.shape = basis.shape;
  plan.scaled = basis.scaled;
  plan.parameters = basis.parameters;
  plan.layers = config.layers;
  plan.kv_heads = config.kv_heads;
  plan.head_dim = config.head_dim;
  plan.model_context = config.context;
  plan.context = request.context != 0 ? request.context : std::min(kUsualContext, config.context);
  plan.memory = request.memory;
  plan.usual_headroom = !request.headroom;
  plan.headroom = request.headroom.value_or(std::max(kLeastHeadroom, request.memory / 20));
  const Network network = draw_network(config);
  plan.activations = activation_bytes(config, network);
  const Memory memory = memory_of(network);
  plan.recurrent_bytes = memory.recurrent_bytes;
  plan.saved_bytes = RememberedSequence::kMostPoints * memory.recurrent_bytes;
  if (!basis.note.empty()) plan.notes.push_back(basis.note);
  plan.bandwidth = request.bandwidth;
  for (std::size_t type = 0; type < kCacheTypes.size(); ++type) {
    plan.cache_bytes[type] = cache_bytes(memory, plan.context, kCacheTypes[type].bits);
    for (const KeyValueState& state : memory.states)
      plan.cache_bytes_per_token[type] += bytes_of_position(state, kCacheTypes[type].bits);
  }
  for (const std::string& format : request.formats.empty() ? default_plan_formats() : request.formats) {
    PlannedWeights weights = plan_weights(basis, format);
    measure_against(plan, memory, weights);
    plan.formats.push_back(std::move(weights));
  }
  for (std::size_t i = 0; i < plan.formats.size(); ++i) {
    const auto& fits = plan.formats[i].fits;
    std::size_t type = plan.formats[i].usual_cache;
    while (type < fits.size() && !fits[type]) ++type;
    if (type == fits.size() || (plan.best && plan.formats[*plan.best].bytes >= plan.formats[i].bytes)) continue;
    plan.best = i;
    plan.best_cache = type;
  }
  return plan;
}

}  // namespace nibble
