// SPDX-License-Identifier: Apache-2.0
#include "calibrate/layer_walk.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cstring>

#include "kernels/encode/encoders.h"
#include "model/stored_activations.h"
#include "nibble/error.h"

namespace nibble {
namespace {

constexpr std::uint64_t kMostExactWeights = 200'000'000;  // of all layers' Linears, for an automatic walk in f32

Program head_program(const DrawnGraph& end, RotaryTables& rotary) {
  const Site* const head = end.find_site(kHeadSite);
  return {end.graph, {.given = end.graph.inputs, .wanted = {head->input}, .kept = end.graph.inputs}, rotary};
}

// What a drawing does to these values until the first is its first output, in its place; nothing where it is.
std::optional<Program> program_behind(const Graph& graph, const std::vector<ValueId>& values, RotaryTables& rotary) {
  if (graph.outputs.front() == values.front()) return std::nullopt;
  Program program(graph, {.given = values, .wanted = graph.outputs}, rotary);
  if (program.place_of(0) != 0)
    throw Error(ErrorKind::internal, "a drawing does not leave the stream where its embedding was");
  return program;
}

std::optional<Program> program_behind_head(const DrawnGraph& end, RotaryTables& rotary) {
  auto program = program_behind(end.graph, {end.find_site(kHeadSite)->outputs.front()}, rotary);
  if (program && (!program->linears().empty() || !program->vectors().empty()))
    throw Error(ErrorKind::unsupported, "text cannot be walked through a network that has weights behind its head");
  return program;
}

// Nodes that look rows up.
std::vector<const Node*> embeddings_of(const Graph& graph) {
  std::vector<const Node*> found;
  for (const Node& node : graph.nodes)
    if (std::holds_alternative<Embedding>(node.operation)) found.push_back(&node);
  return found;
}

std::vector<ValueId> embedded_values(const Graph& graph) {
  std::vector<ValueId> values;
  for (const Node* const node : embeddings_of(graph)) values.push_back(node->output);
  return values;
}

}  // namespace

WalkArithmetic parse_walk_arithmetic(std::string_view spelling) {
  for (const WalkArithmetic known : {WalkArithmetic::automatic, WalkArithmetic::f32, WalkArithmetic::int8})
    if (walk_arithmetic_name(known) == spelling) return known;
  throw Error(ErrorKind::invalid_argument,
              fmt::format("what text is walked through the model in is auto, f32 or int8: '{}'", spelling));
}

std::string_view walk_arithmetic_name(WalkArithmetic arithmetic) {
  if (arithmetic == WalkArithmetic::automatic) return "auto";
  return arithmetic == WalkArithmetic::f32 ? "f32" : "int8";
}

WalkArithmetic resolve_walk_arithmetic(WalkArithmetic arithmetic, const Network& network) {
  if (arithmetic != WalkArithmetic::automatic) return arithmetic;
  return network.linear_parameters() > kMostExactWeights ? WalkArithmetic::int8 : WalkArithmetic::f32;
}

LayerWalk::LayerWalk(const Network& network, const CalibrationTokens& tokens, const WalkOptions& options,
                     Machine& machine)
    : network_(network),
      tokens_(tokens),
      kernels_(options.kernels),
      machine_(machine),
      spill_directory_(options.spill_directory),
      head_inputs_(head_program(network.end(), workspace_.rotary)),
      behind_embeddings_(
          program_behind(network.begin().graph, embedded_values(network.begin().graph), workspace_.rotary)),
      behind_head_(program_behind_head(network.end(), workspace_.rotary)) {
  const bool is_int8 = resolve_walk_arithmetic(options.arithmetic, network) == WalkArithmetic::int8;
  kernels_.activations = is_int8 ? ActivationMode::int8 : ActivationMode::f32;
  format_ = is_int8 ? with_kernels(find_format("int8:g128"), machine_.isa) : find_raw_format(DType::f32);
  keeps_inputs_ = is_int8 && options.keeps_inputs;
  // Memory is taken at once, so that what does not fit is known before anything is computed.
  add_crossings(network.begin().graph.passed, network.begin().graph, Network::kBegin);
  for (const WeightUse& use : network.begin().graph.weights())
    if (use.role == TensorRole::exact) unrounded_.insert(use.part);
  for (std::int64_t i = 0; i < network.num_layers(); ++i) {
    add_plan(network.layer(i));
    add_crossings(network.layer(i).graph.passed, network.layer(i).graph, i);
  }
  workspace_.rotary.fill(0, length(), 0, length());
}

void LayerWalk::add_plan(const DrawnGraph& drawing) {
  if (plans_.contains(&drawing)) return;
  const WalkPlan& plan = plans_.emplace(&drawing, WalkPlan(drawing, workspace_.rotary)).first->second;
  for (const WeightUse& use : drawing.graph.weights())
    if (use.role == TensorRole::router) unrounded_.insert(use.part);
  for (const SitePlan& site : plan.sites)
    for (const Program* const program : {&site.inputs, &site.leave})
      for (const Program::LatentUse& use : program->latents()) latents_[use.part] = use.shape;
  for (const KeyValueState& state : drawing.graph.states)
    if (std::ranges::count(caches_, state, &std::pair<KeyValueState, KvLayer>::first) <
        std::ranges::count(drawing.graph.states, state))
      caches_.emplace_back(state, KvLayer(length(), state.kv_heads, state.head_dim, KvType::f32, values_of(state)));
  for (std::size_t i = 0; i < drawing.sites.size(); ++i)
    if (plan.sites[i].has_products) keep_costly(drawing.sites[i], plan.sites[i]);
  for (std::size_t i = 0; i < plan.widths.size(); ++i) {
    if (i == stores_.size()) stores_.push_back({});
    if (stores_[i].width >= plan.widths[i]) continue;
    stores_[i].width = plan.widths[i];
    stores_[i].memory = SpillableBytes(tokens_.ids.size() * plan.widths[i] * sizeof(float), spill_directory_);
  }
}

void LayerWalk::add_crossings(const std::vector<Crossing>& passed, const Graph& graph, std::int64_t layer) {
  for (const Crossing& crossing : passed) {
    const std::string name = Network::name_of(crossing, layer);
    const std::uint64_t width = graph.width(crossing.value);
    if (!crossing_widths_.emplace(name, width).second) continue;
    crossing_[name] = std::make_shared<SpillableBytes>(tokens_.ids.size() * width * sizeof(float), spill_directory_);
  }
}

void LayerWalk::own_crossings(const std::vector<ValueId>& made, const LayerWeights& layer) {
  for (const Crossing& crossing : layer.drawing().graph.passed) {
    if (std::ranges::find(made, crossing.value) == made.end()) continue;
    std::shared_ptr<SpillableBytes>& memory = crossing_.at(Network::name_of(crossing, layer.layer()));
    if (memory.use_count() > 1) memory = std::make_shared<SpillableBytes>(memory->size(), spill_directory_);
  }
}

const SitePlan& LayerWalk::plan_of(const Site& site, const LayerWeights& layer) const {
  const auto index = static_cast<std::size_t>(&site - layer.drawing().sites.data());
  assert(index < layer.drawing().sites.size());
  return plan_of(layer.drawing()).sites[index];
}

bool LayerWalk::shows_sum(const Site& site, const LayerWeights& layer) const {
  const SitePlan& plan = plan_of(site, layer);
  const auto has = [](const std::vector<ValueId>& values, ValueId value) {
    return std::ranges::find(values, value) != values.end();
  };
  return site.added && has(plan.kept, site.added->term) && has(plan.made, site.added->sum);
}

void LayerWalk::embed(const EmbeddingRows& rows, const LayerWeights& begin) {
  forget();
  const Graph& graph = network_.begin().graph;
  const auto vocab = static_cast<std::int64_t>(network_.end().graph.width(network_.end().graph.outputs.front()));
  for (const std::int32_t id : tokens_.ids)
    if (id < 0 || id >= vocab)
      throw Error(ErrorKind::unusable_input,
                  fmt::format("the tokenizer gives an id outside the vocabulary of {}: {}", vocab, id));
  if (behind_embeddings_)
    for (const Program::LinearUse& use : behind_embeddings_->linears()) pack(use.part, begin.at(use.part));
  own_crossings(graph.outputs, begin);
  const std::vector<const Node*> looked_up = embeddings_of(graph);
  std::vector<std::vector<float>> others;  // beside the stream's
  for (std::size_t i = 1; i < looked_up.size(); ++i) others.emplace_back(length() * graph.width(looked_up[i]->output));
  for (std::size_t window = 0; window < windows(); ++window) {
    visit(window);
    const std::span<const std::int32_t> ids = tokens_.window(window);
    std::vector<float*> given = {stream(window)}, wanted = given;
    for (std::vector<float>& other : others) given.push_back(other.data());
    for (std::size_t i = 0; i < looked_up.size(); ++i) {
      const auto& op = std::get<Embedding>(looked_up[i]->operation);
      machine_.pool.parallel_for(ids.size(), 64, [&](std::size_t first, std::size_t end, std::size_t) {
        for (std::size_t t = first; t < end; ++t) rows(op.part, ids[t], given[i] + t * op.width);
      });
    }
    for (const Crossing& crossing : graph.passed) wanted.push_back(place(crossing.value, begin, window));
    if (behind_embeddings_) run(*behind_embeddings_, begin, {given, wanted});
  }
}

void LayerWalk::pack(const Site& site, const LayerWeights& layer) {
  for (const std::string& part : site.parts) pack(part, layer.at(part));
}

void LayerWalk::pack(std::string_view part, const Matrix& weights) {
  const std::uint64_t rows = weights.rows, cols = weights.cols;
  if (!multiplies_codes() || unrounded_.contains(part)) return pack(part, view_of(weights));
  QuantizedTensor rounded(format_, rows, cols);
  machine_.pool.parallel_for(rows, 16, [&](std::size_t begin, std::size_t end, std::size_t) {
    for (std::size_t row = begin; row < end; ++row)
      format_->encode_row(std::span(weights.values).subspan(row * cols, cols), {}, nullptr, row, {}, rounded.row(row));
  });
  pack(part, rounded.view());
}

void LayerWalk::pack(std::string_view part, const QuantizedView& weights) {
  if (costly_.program != nullptr && std::ranges::find(costly_.program->linears(), part, &Program::LinearUse::part) !=
                                        costly_.program->linears().end())
    forget();
  if (const auto latent = latents_.find(part); latent != latents_.end()) {
    forget();
    packed_latents_.insert_or_assign(std::string(part), LatentHeads::pack(weights, latent->second, machine_));
    return;
  }
  KernelOptions kernels = kernels_;
  kernels.activation_format = activations_of_site(kernels.activation_format, part);
  packed_.insert_or_assign(std::string(part), PackedLinear::pack(weights, kernels, machine_));
}

// One window, whose rows are all of the batch. experts: whose products are made; none: everyone's.
void LayerWalk::run(const Program& program, const LayerWeights& layer, const Program::Bound& bound,
                    std::optional<ExpertRange> experts) {
  ProgramWeights weights;
  for (const Program::LinearUse& use : program.linears()) {
    if (experts && use.expert >= 0 && (use.expert < experts->begin || use.expert >= experts->end)) {
      weights.linears.push_back(nullptr);
      weights.biases.emplace_back();
      continue;
    }
    const auto packed = packed_.find(use.part);
    assert(packed != packed_.end());
    weights.linears.push_back(&packed->second);
    weights.biases.push_back(use.bias.empty() ? std::span<const float>{}
                                              : std::span<const float>(layer.at(use.bias).values));
  }
  for (const std::string& part : program.vectors()) weights.vectors.emplace_back(layer.at(part).values);
  for (const Program::LatentUse& use : program.latents()) weights.latents.push_back(&packed_latents_.at(use.part));
  const BatchPiece piece{.row = 0, .tokens = length(), .position = 0};
  std::vector<KvLayer*> caches;
  for (const KeyValueState& state : layer.drawing().graph.states)
    for (auto& [shape, cache] : caches_)
      if (shape == state && std::ranges::find(caches, &cache) == caches.end()) {
        caches.push_back(&cache);
        break;
      }
  // Every window begins as a text does.
  std::vector<float*> memories;
  for (std::size_t i = 0; i < layer.drawing().graph.recurrent.size(); ++i) {
    memories_.resize(std::max(memories_.size(), i + 1));
    memories_[i].assign(static_cast<std::size_t>(layer.drawing().graph.recurrent[i].numbers), 0.0f);
    memories.push_back(memories_[i].data());
  }
  program.run({.tokens = length(), .pieces = {&piece, 1}, .caches = caches, .memories = memories}, weights, bound,
              workspace_, machine_);
}

float* LayerWalk::stream(std::size_t window) const {
  return stores_.front().memory.as<float>() + window * length() * stores_.front().width;
}

float* LayerWalk::place(ValueId value, const LayerWeights& layer, std::size_t window) const {
  const Graph& graph = layer.drawing().graph;
  for (const std::vector<Crossing>* const crossings : {&graph.received, &graph.passed})
    if (const auto found = std::ranges::find(*crossings, value, &Crossing::value); found != crossings->end())
      return crossing_.at(Network::name_of(*found, layer.layer()))->as<float>() +
             window * length() * graph.width(value);
  const Store& store = stores_[plan_of(layer.drawing()).store_of.at(value)];
  return store.memory.as<float>() + window * length() * store.width;
}

std::span<const float> LayerWalk::kept_value(ValueId value, const LayerWeights& layer, std::size_t window) const {
  return {place(value, layer, window), length() * layer.drawing().graph.width(value)};
}

WalkState LayerWalk::save() const {
  WalkState saved{SpillableBytes(stores_.front().memory.size(), spill_directory_), crossing_};
  copy_by_window(stores_.front().memory, saved.stream);
  return saved;
}

void LayerWalk::restore(const WalkState& saved) {
  forget();
  copy_by_window(saved.stream, stores_.front().memory);
  crossing_ = saved.crossing;
}

void LayerWalk::copy_by_window(const SpillableBytes& from, const SpillableBytes& to) const {
  const std::size_t size = length() * stores_.front().width * sizeof(float);
  for (std::size_t window = 0; window < windows(); ++window) {
    std::memcpy(to.as<std::byte>(window * size), from.as<std::byte>(window * size), size);
    for (const SpillableBytes* const done : {&from, &to}) done->release(window * size, size);
  }
}

void LayerWalk::visit(std::size_t window) {
  if (window == visited_) return;
  for (const Store& store : stores_) {
    const std::size_t size = length() * store.width * sizeof(float);
    store.memory.release(visited_ * size, size);
  }
  for (const auto& [name, memory] : crossing_) {
    const std::size_t size = length() * crossing_widths_.at(name) * sizeof(float);
    memory->release(visited_ * size, size);
  }
  visited_ = window;
}

std::span<const float> LayerWalk::head_inputs(std::span<const float> final_norm, std::size_t window) {
  visit(window);
  costly_.window.reset();
  input_.resize(length() * network_.end().find_site(kHeadSite)->width);
  const BatchPiece piece{.row = 0, .tokens = length(), .position = 0};
  const ProgramWeights weights{.linears = {}, .biases = {}, .vectors = {final_norm}};
  const std::array given = {stream(window)}, wanted = {input_.data()};
  head_inputs_.run({.tokens = length(), .pieces = {&piece, 1}}, weights, {given, wanted}, workspace_, machine_);
  return input_;
}

void LayerWalk::finish_logits(std::span<float> logits, std::size_t tokens) {
  float* const values = logits.data();
  if (behind_head_)
    behind_head_->run({.tokens = tokens, .pieces = {}}, {}, {{&values, 1}, {&values, 1}}, workspace_, machine_);
}

// Prepares to remember inputs that take products to compute.
void LayerWalk::keep_costly(const Site& site, const SitePlan& plan) {
  if (costly_.program == &plan.inputs) return;
  costly_.program = &plan.inputs;
  costly_.window.reset();
  if (!keeps_inputs_ || site.has_own_inputs) return;
  const ActivationFormat format = activations_of_site(kernels_.activation_format, site.parts.front());
  if (costly_.kept && costly_.width == site.width && costly_.format == format) return costly_.kept->forget();
  costly_.kept.emplace(windows(), length(), site.width, format, machine_.isa, spill_directory_);
  costly_.width = site.width;
  costly_.format = format;
}

std::span<const float> LayerWalk::inputs(const Site& site, const LayerWeights& layer, std::size_t window,
                                         ExpertRange experts, std::span<const float> routing) {
  last_inputs_ = make_inputs(site, layer, window, experts, routing);
  if (site.experts != 0)
    groups_.fill((routing.empty() ? routing_of(site, layer, window) : routing).data(), length(), site.experts);
  return last_inputs_;
}

std::span<const float> LayerWalk::make_inputs(const Site& site, const LayerWeights& layer, std::size_t window,
                                              ExpertRange experts, std::span<const float> routing) {
  visit(window);
  const SitePlan& plan = plan_of(site, layer);
  if (plan.is_kept) return kept_value(site.input, layer, window);
  input_.resize(length() * site.numbers_per_token());
  if (plan.has_products) {
    keep_costly(site, plan);
    if (costly_.window == window && costly_.experts == experts && routing.empty()) return input_;
    costly_.window.reset();
    if (routing.empty()) costly_.window = window;
    costly_.experts = experts;
    if (costly_.kept && !site.has_own_inputs && costly_.kept->has(window)) {
      costly_.kept->get(window, input_.data(), machine_.pool);
      return input_;
    }
  } else {
    costly_.window.reset();
  }
  std::vector<float*> given;
  for (const ValueId value : plan.kept) given.push_back(place(value, layer, window));
  const auto at = std::ranges::find(plan.kept, site.routing);
  std::vector<float> others;  // programs are given what they may write to
  if (!routing.empty() && at != plan.kept.end()) {
    others.assign(routing.begin(), routing.end());
    given[static_cast<std::size_t>(at - plan.kept.begin())] = others.data();
  }
  float* const wanted = input_.data();
  run(plan.inputs, layer, {given, {&wanted, 1}}, experts);
  if (plan.has_products && costly_.kept && !site.has_own_inputs)
    costly_.kept->put(window, input_.data(), machine_.pool);
  return input_;
}

std::span<const float> LayerWalk::inputs_of(const Site& site, std::int64_t expert) {
  if (expert < 0) return site.has_own_inputs ? last_inputs_.first(groups_.begin.back() * site.width) : last_inputs_;
  const auto e = static_cast<std::size_t>(expert);
  const std::size_t first = groups_.begin[e], count = groups_.begin[e + 1] - first;
  if (site.has_own_inputs) return last_inputs_.subspan(first * site.width, count * site.width);
  gathered_.resize(std::max(gathered_.size(), count * site.width));
  machine_.pool.parallel_for(count, 16, [&](std::size_t begin, std::size_t end, std::size_t) {
    for (std::size_t i = begin; i < end; ++i)
      std::copy_n(&last_inputs_[groups_.token[first + i] * site.width], site.width, &gathered_[i * site.width]);
  });
  return {gathered_.data(), count * site.width};
}

void LayerWalk::forget() {
  costly_.window.reset();
  if (costly_.kept) costly_.kept->forget();
}

void LayerWalk::leave(const Site& site, const LayerWeights& layer, std::size_t window) {
  const SitePlan& plan = plan_of(site, layer);
  const WalkPlan& walk = plan_of(layer.drawing());
  if (!plan.made.empty()) {
    std::vector<float*> given, wanted;
    if (!plan.is_kept) inputs(site, layer, window);
    own_crossings(plan.made, layer);
    for (const ValueId value : plan.kept) given.push_back(place(value, layer, window));
    if (!plan.is_kept) given.push_back(input_.data());
    for (const ValueId value : plan.made) wanted.push_back(place(value, layer, window));
    run(plan.leave, layer, {given, wanted});
    costly_.window.reset();
  }
  visit(window);
  const DrawnGraph& drawing = layer.drawing();
  if (&site != &drawing.sites.back()) return;
  // The stream between layers has a place of its own.
  const ValueId output = drawing.graph.outputs.front();
  if (const std::size_t left = walk.store_of.at(output); left != 0)
    std::copy_n(place(output, layer, window), length() * drawing.graph.width(output), stream(window));
}

void LayerWalk::leave(const Site& site, const LayerWeights& layer) {
  for (std::size_t window = 0; window < windows(); ++window) leave(site, layer, window);
}

}  // namespace nibble
