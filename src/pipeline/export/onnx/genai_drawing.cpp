// SPDX-License-Identifier: Apache-2.0
//
// The graph that ONNX Runtime GenAI runs, put together as its own model builder does (onnxruntime-genai, builders/
// base.py): queries, keys and values by one MatMulNBits, turned and attended to by one GroupQueryAttention, a sum and
// the norm that reads it by one SkipSimplifiedLayerNormalization.
#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <set>

#include "io/packing/matmul_nbits.h"
#include "nibble/error.h"
#include "pipeline/export/onnx/decoder_drawing.h"

namespace nibble {
namespace {

template <class T>
const T* as(const FlatNode& node) {
  return std::get_if<T>(&node.node->operation);
}

// One of an attention's inputs, from the Linear on, or from a run of its rows.
struct Branch {
  std::size_t value = 0;           // what the Linear makes
  const Linear* linear = nullptr;  // null: something else makes it
  const Slice* slice = nullptr;    // of the Linear's rows
  const RmsNorm* norm = nullptr;   // of its heads
  const Rope* rope = nullptr;
  std::vector<std::size_t> nodes;  // all of these, behind the Linear
  std::size_t maker = 0;           // the Linear's node
};

class GenaiDrawing final : public DecoderDrawing {
 public:
  explicit GenaiDrawing(const DrawingSource& source)
      : DecoderDrawing(source, OnnxPlace::Layout::nbits, source.options.is_half ? OnnxType::f16 : OnnxType::f32) {
    pen_.model().opset = 21;
    for (std::size_t i = 0; i < flat_.nodes.size(); ++i) {
      if (as<Attention>(flat_.nodes[i]) != nullptr) plan_attention(i);
      if (as<MixExperts>(flat_.nodes[i]) != nullptr) plan_experts(i);
    }
  }

 protected:
  bool draw_fused(std::size_t index) override {
    const FlatNode& node = flat_.nodes[index];
    if (as<Attention>(node) != nullptr) return draw_attention(index), true;
    if (is_absorbed_[index]) return true;  // its attention, or its mixture, draws it
    if (const auto mixture = mixtures_.find(index); mixture != mixtures_.end())
      return draw_experts(node, mixture->second), true;
    if (as<Add>(node) != nullptr) return draw_sum(index);
    const auto* const norm = as<RmsNorm>(node);
    if (norm == nullptr) return false;
    make(node.output, draw_norm(value(node.inputs[0]), node, *norm));
    return true;
  }

  bool is_fused(std::size_t index) const override {
    const auto absorbed = is_absorbed_.find(index);
    return mixtures_.contains(index) || (mixed_.contains(index) && absorbed != is_absorbed_.end() && absorbed->second);
  }

  std::string product(const std::string& x, const CodedMatrix& matrix) override {
    const NBitsLayout layout = layout_of(matrix);
    std::vector<std::string> inputs = {x, matrix.values, matrix.scales};
    if (!matrix.zero_points.empty()) inputs.push_back(matrix.zero_points);
    std::vector<OnnxAttribute> attributes = {{"K", static_cast<std::int64_t>(matrix.cols)},
                                             {"N", static_cast<std::int64_t>(matrix.rows)},
                                             {"bits", static_cast<std::int64_t>(layout.bits)},
                                             {"block_size", static_cast<std::int64_t>(layout.block)}};
    if (source_.options.accuracy_level != 0) attributes.push_back({"accuracy_level", source_.options.accuracy_level});
    return pen_.add("MatMulNBits", std::move(inputs), std::move(attributes), kMicrosoftDomain);
  }

  std::string lookup(const std::string& ids, const CodedMatrix& matrix) override {
    const NBitsLayout layout = layout_of(matrix);
    if (layout.bits == 2)
      throw Error(ErrorKind::unsupported,
                  "GatherBlockQuantized looks up codes of 4 and 8 bits; give the embedding another format, such as "
                  "int4:g32",
                  "embedding");
    if (matrix.cols % layout.block != 0)
      throw Error(ErrorKind::unsupported,
                  fmt::format("GatherBlockQuantized looks up whole blocks, and {} do not divide rows of {}; give the "
                              "embedding another format, such as int4:g32",
                              layout.block, matrix.cols),
                  "embedding");
    const std::string flat = pen_.add("Reshape", {matrix.values, pen_.integers({0, -1})});
    std::vector<std::string> inputs = {flat, ids, matrix.scales};
    if (!matrix.zero_points.empty()) inputs.push_back(matrix.zero_points);
    return pen_.add("GatherBlockQuantized", std::move(inputs),
                    {{"bits", static_cast<std::int64_t>(layout.bits)},
                     {"block_size", static_cast<std::int64_t>(layout.block)},
                     {"gather_axis", std::int64_t{0}},
                     {"quantize_axis", std::int64_t{1}}},
                    kMicrosoftDomain);
  }

  std::string surrounding(OnnxSurrounding which, const FlatNode& node) override {
    if (which == OnnxSurrounding::token_ids) return "input_ids";
    const bool is_cosine = which == OnnxSurrounding::cosines;
    if (const auto* const rope = as<Rope>(node); rope != nullptr && (is_cosine || which == OnnxSurrounding::sines)) {
      const std::string rows = pen_.add("Gather", {table(*rope, !is_cosine), positions()});
      return pen_.add("Unsqueeze", {rows, pen_.integers({2})});
    }
    if (which == OnnxSurrounding::positions)
      return pen_.add("Unsqueeze", {pen_.cast(positions(), pen_.type()), pen_.integers({2})});
    throw Error(ErrorKind::internal, "an operation asks for what GenAI's attention keeps to itself");
  }

 private:
  ScaleType scale_type() const { return pen_.type() == OnnxType::f16 ? ScaleType::f16 : ScaleType::f32; }
  NBitsLayout layout_of(const CodedMatrix& matrix) const {
    return nbits_layout(*matrix.format, matrix.cols, scale_type());
  }

  // --- attention -----------------------------------------------------------------------------------------------------

  // How an attention's inputs come about, and what of that it draws itself.
  struct Group {
    Branch queries, keys, values;
    bool is_joint = false;   // one product makes all three
    bool is_packed = false;  // and nothing stands between it and the attention
    bool is_turned = false;  // the attention turns
  };

  Branch trace(std::size_t value, std::uint64_t head_dim) const {
    Branch branch;
    const FlatNode* node = &flat_.maker(value);
    const auto step = [&] {
      branch.nodes.push_back(flat_.producer[node->output]);
      node = &flat_.maker(node->inputs[0]);
    };
    const auto is_private = [&] { return flat_.has_one_reader(node->output); };
    if (const auto* rope = as<Rope>(*node); rope != nullptr && is_private()) branch.rope = rope, step();
    if (const auto* norm = as<RmsNorm>(*node); norm != nullptr && norm->group == head_dim && is_private())
      branch.norm = norm, step();
    if (const auto* slice = as<Slice>(*node); slice != nullptr && slice->group == 0 && is_private())
      branch.slice = slice, step();
    if (branch.slice == nullptr && !is_private()) return {};
    branch.linear = as<Linear>(*node);
    branch.value = node->output;
    branch.maker = flat_.producer[node->output];
    return branch.linear == nullptr ? Branch{} : branch;
  }

  static bool turn_alike(const Branch& a, const Branch& b) {
    if (a.rope == nullptr || b.rope == nullptr) return a.rope == b.rope;
    return a.rope->frequencies == b.rope->frequencies && a.rope->magnitude == b.rope->magnitude &&
           a.rope->half_split == b.rope->half_split;
  }

  void plan_attention(std::size_t index) {
    const FlatNode& node = flat_.nodes[index];
    const Attention& attention = *as<Attention>(node);
    Group group{trace(node.inputs[0], attention.head_dim), trace(node.inputs[1], attention.head_dim),
                trace(node.inputs[2], attention.head_dim)};
    Branch &q = group.queries, &k = group.keys, &v = group.values;
    const bool is_known = q.linear != nullptr && k.linear != nullptr && v.linear != nullptr && v.rope == nullptr &&
                          v.norm == nullptr && turn_alike(q, k) && (q.norm == nullptr) == (k.norm == nullptr);
    const std::uint64_t width = attention.heads * attention.head_dim, kept = attention.kv_heads * attention.head_dim;
    // The operator turns heads of 16, 32, ... channels, and 8, 16, ... pairs of them; others are turned before it.
    const bool can_turn = q.rope == nullptr || (attention.head_dim % 16 == 0 && q.rope->frequencies.size() % 8 == 0);
    if (is_known && can_turn) {
      group.is_turned = q.rope != nullptr;
      const bool is_sliced = q.slice != nullptr && k.slice != nullptr && v.slice != nullptr && q.value == k.value &&
                             q.value == v.value && q.slice->begin == 0 && q.slice->count == width &&
                             k.slice->begin == width && v.slice->begin == width + kept &&
                             q.linear->rows == width + 2 * kept;
      const bool are_three = q.slice == nullptr && k.slice == nullptr && v.slice == nullptr && reads_same(q, k) &&
                             reads_same(q, v) && q.linear->has_bias == k.linear->has_bias &&
                             q.linear->has_bias == v.linear->has_bias && weights_.are_alike(parts_of(node, group)) &&
                             have_like_biases(node, group);
      group.is_joint = is_sliced || are_three;
      group.is_packed = group.is_joint && q.norm == nullptr;
      if (group.is_joint || group.is_turned) {
        for (const Branch* const branch : {&q, &k, &v})
          for (const std::size_t absorbed : branch->nodes)
            if (group.is_joint || as<Rope>(flat_.nodes[absorbed]) != nullptr) is_absorbed_[absorbed] = true;
        if (are_three)
          for (const Branch* const branch : {&q, &k, &v}) is_absorbed_[branch->maker] = true;
      }
    }
    groups_.emplace(index, std::move(group));
  }

  bool reads_same(const Branch& a, const Branch& b) const {
    return flat_.nodes[a.maker].inputs == flat_.nodes[b.maker].inputs;
  }
  std::vector<PartOf> parts_of(const FlatNode& node, const Group& group) const {
    return {part(node, group.queries.linear->part), part(node, group.keys.linear->part),
            part(node, group.values.linear->part)};
  }
  std::vector<PartOf> biases_of(const FlatNode& node, const Group& group) const {
    return {part(node, group.queries.linear->bias()), part(node, group.keys.linear->bias()),
            part(node, group.values.linear->bias())};
  }
  bool have_like_biases(const FlatNode& node, const Group& group) const {
    if (!group.queries.linear->has_bias) return true;
    const std::vector<PartOf> biases = biases_of(node, group);
    return std::ranges::all_of(biases, [&](const PartOf& bias) {
      return weights_.planned(bias).format->name() == weights_.planned(biases[0]).format->name();
    });
  }

  void draw_attention(std::size_t index) {
    const FlatNode& node = flat_.nodes[index];
    const Attention& attention = *as<Attention>(node);
    const Group& group = groups_.at(index);
    std::string q, k, v;
    if (group.is_joint) {
      q = joint_product(node, group);
      if (!group.is_packed) {
        const auto width = static_cast<std::int64_t>(attention.heads * attention.head_dim);
        const auto kept = static_cast<std::int64_t>(attention.kv_heads * attention.head_dim);
        pen_.enter(fmt::format("/model/layers.{}/qkv", node.layer));
        const std::string cut =
            pen_.add("Split", {q, pen_.integers({width, kept, kept})}, {{"axis", std::int64_t{-1}}}, "", 3);
        q = draw_head_norm(GraphPen::output(cut, 0), node, group.queries);
        k = draw_head_norm(GraphPen::output(cut, 1), node, group.keys);
        v = GraphPen::output(cut, 2);
      }
    } else {
      q = before_turning(node, 0, group.is_turned);
      k = before_turning(node, 1, group.is_turned);
      v = value(node.inputs[2]);
    }
    std::vector<std::string> inputs = {q, k, v, past(node, "key"), past(node, "value"), lengths(), total_length()};
    enter(node);
    if (group.is_turned) {
      inputs.push_back(table(*group.queries.rope, false));
      inputs.push_back(table(*group.queries.rope, true));
    }
    if (!attention.sinks.empty()) {
      inputs.resize(11);
      inputs.push_back(weights_.numbers(part(node, attention.sinks)));
    }
    const std::string mixed = pen_.add(
        "GroupQueryAttention", std::move(inputs),
        {{"num_heads", static_cast<std::int64_t>(attention.heads)},
         {"kv_num_heads", static_cast<std::int64_t>(attention.kv_heads)},
         {"scale", attention.scale},
         {"softcap", attention.soft_cap},
         {"local_window_size", attention.window == 0 ? std::int64_t{-1} : static_cast<std::int64_t>(attention.window)},
         {"do_rotary", std::int64_t{group.is_turned ? 1 : 0}},
         {"rotary_interleaved", std::int64_t{group.is_turned && !group.queries.rope->half_split ? 1 : 0}}},
        kMicrosoftDomain, 3);
    pen_.rename(GraphPen::output(mixed, 1), present(node, "key"));
    pen_.rename(GraphPen::output(mixed, 2), present(node, "value"));
    make(node.output, mixed);
  }

  std::string joint_product(const FlatNode& node, const Group& group) {
    if (group.queries.slice != nullptr) return value(group.queries.value);
    pen_.enter(fmt::format("/model/layers.{}/qkv", node.layer));
    const std::string& x = value(flat_.nodes[group.queries.maker].inputs[0]);
    std::string made = product(x, weights_.coded(parts_of(node, group)));
    if (!group.queries.linear->has_bias) return made;
    return pen_.add("Add", {made, weights_.joined_numbers(biases_of(node, group))});
  }

  // What goes into an attention that turns it itself.
  const std::string& before_turning(const FlatNode& node, std::size_t input, bool is_turned) const {
    if (!is_turned) return value(node.inputs[input]);
    return value(flat_.maker(node.inputs[input]).inputs[0]);
  }

  std::string draw_head_norm(const std::string& x, const FlatNode& node, const Branch& branch) {
    const std::size_t norm = *std::ranges::find_if(
        branch.nodes, [&](std::size_t candidate) { return as<RmsNorm>(flat_.nodes[candidate]) != nullptr; });
    enter(flat_.nodes[norm]);
    return draw_norm(x, node, *branch.norm);
  }

  // Of every sequence, the place of its last token; and the places that there are.
  const std::string& lengths() {
    if (lengths_.empty()) {
      pen_.enter("/model/attention_mask");
      const std::string sum =
          pen_.add("ReduceSum", {"attention_mask", pen_.integers({1})}, {{"keepdims", std::int64_t{0}}});
      lengths_ = pen_.cast(pen_.add("Sub", {sum, pen_.integers({1})}), OnnxType::i32);
    }
    return lengths_;
  }
  const std::string& total_length() {
    if (total_length_.empty()) {
      pen_.enter("/model/attention_mask");
      const std::string shape = pen_.add("Shape", {"attention_mask"});
      total_length_ = pen_.cast(pen_.add("Gather", {shape, pen_.integer(1)}), OnnxType::i32);
    }
    return total_length_;
  }
  // Of the new tokens: [batch, tokens].
  const std::string& positions() {
    if (positions_.empty()) {
      pen_.enter("/model/positions");
      const std::string counted = pen_.add("CumSum", {"attention_mask", pen_.integer(1)});
      const std::string places = pen_.add("Max", {pen_.add("Sub", {counted, pen_.integer(1)}), pen_.integer(0)});
      const std::string tokens = pen_.add("Shape", {"input_ids"}, {{"start", std::int64_t{1}}});
      positions_ =
          pen_.add("Slice", {places, pen_.add("Neg", {tokens}), pen_.integers({INT64_MAX}), pen_.integers({1})});
    }
    return positions_;
  }

  // --- experts -------------------------------------------------------------------------------------------------------

  // What a QMoE says at once: down(silu(gate(x)) * up(x)) of the experts that a token is sent to, mixed.
  struct Mixture {
    const FlatNode *gate = nullptr, *up = nullptr, *down = nullptr, *route = nullptr;
  };

  void plan_experts(std::size_t index) {
    const FlatNode& mix = flat_.nodes[index];
    const auto maker_of = [&](const FlatNode& node, std::size_t input) { return &flat_.maker(node.inputs[input]); };
    const FlatNode* const down = maker_of(mix, 0);
    if (as<ExpertLinear>(*down) == nullptr) return;
    const FlatNode* const product = maker_of(*down, 0);
    if (as<Multiply>(*product) == nullptr) return;
    const bool is_first = as<Silu>(*maker_of(*product, 0)) != nullptr;
    const FlatNode* const active = maker_of(*product, is_first ? 0 : 1);
    const FlatNode* const up = maker_of(*product, is_first ? 1 : 0);
    if (as<Silu>(*active) == nullptr) return;
    const FlatNode* const gate = maker_of(*active, 0);
    const FlatNode* const route = maker_of(mix, 1);
    const auto* const routing = as<Route>(*route);
    for (const FlatNode* const linear : {gate, up, down}) {
      const auto* const op = as<ExpertLinear>(*linear);
      if (op == nullptr || op->has_bias || linear->inputs[1] != route->output) return;
    }
    const std::vector<const FlatNode*> inner = {down, product, active, up, gate};
    const auto is_private = [&](const FlatNode* node) { return flat_.has_one_reader(node->output); };
    if (routing == nullptr || *routing != Route{.used = routing->used} || gate->inputs[0] != up->inputs[0] ||
        flat_.readers[route->output].size() != 4 || !std::ranges::all_of(inner, is_private))
      return;
    for (const FlatNode* const node : inner) absorb_into_mixture(*node);
    absorb_into_mixture(*route);
    mixtures_.emplace(index, Mixture{gate, up, down, route});
  }
  void absorb_into_mixture(const FlatNode& node) {
    const std::size_t index = flat_.producer[node.output];
    is_absorbed_[index] = true;
    mixed_.insert(index);
  }

  // The matrices of every expert; of these operations in turn.
  std::vector<std::vector<PartOf>> expert_parts(std::initializer_list<const FlatNode*> linears,
                                                std::uint64_t experts) const {
    std::vector<std::vector<PartOf>> parts(experts);
    for (std::uint64_t e = 0; e < experts; ++e)
      for (const FlatNode* const linear : linears)
        parts[e].push_back(part(*linear, expert_part(as<ExpertLinear>(*linear)->part, e)));
    return parts;
  }

  // ONNX Runtime's QMoE on processors is exact with 4 bits in blocks, and rounds with 8.
  void require_experts(const std::vector<std::vector<PartOf>>& experts) const {
    std::vector<PartOf> all;
    for (const std::vector<PartOf>& one : experts) all.insert(all.end(), one.begin(), one.end());
    const PlannedTensor& first = weights_.planned(all.front());
    const std::uint64_t cols = first.shape.back();
    const auto refuse = [&](std::string_view why) {
      const std::string_view other = cols % 32 == 0   ? "int4:g32 for all experts would do"
                                     : cols % 16 == 0 ? "int4:g16 for all experts would do"
                                                      : "write a directory of another kind instead";
      throw Error(ErrorKind::unsupported,
                  fmt::format("QMoE {}: {} for '{}'; {}", why, first.format->name(), first.name, other));
    };
    if (!weights_.are_alike(all)) refuse("has one format of codes for all experts of a layer");
    const NBitsLayout layout = nbits_layout(*first.format, cols, scale_type());
    if (layout.bits != 4) refuse("takes experts in 4 bits as they are, and no others");
    if (cols % layout.block != 0) refuse("takes blocks that divide the inputs");
  }

  void draw_experts(const FlatNode& node, const Mixture& mixture) {
    const Route& routing = *as<Route>(*mixture.route);
    const std::uint64_t experts = mixture.route->shapes[0].back().extent;
    const auto inner = expert_parts({mixture.gate, mixture.up}, experts), outer = expert_parts({mixture.down}, experts);
    require_experts(inner);
    require_experts(outer);
    const CodedMatrix first = weights_.coded_experts(inner), second = weights_.coded_experts(outer);
    const NBitsLayout layout = layout_of(first);
    if (layout_of(second).block != layout.block || first.zero_points.empty() != second.zero_points.empty())
      throw Error(ErrorKind::unsupported,
                  "QMoE has one format for all matrices of a layer's experts; int4:g32 for all "
                  "would do");
    enter(node);
    const std::string logits =
        pen_.add("Reshape", {value(mixture.route->inputs[0]), pen_.integers({-1, static_cast<std::int64_t>(experts)})});
    std::vector<std::string> inputs = {
        value(mixture.gate->inputs[0]), logits, first.values, first.scales, "", second.values, second.scales};
    if (!first.zero_points.empty()) {
      inputs.resize(11);
      inputs.push_back(first.zero_points);
      inputs.push_back(second.zero_points);
    }
    std::vector<OnnxAttribute> attributes = {{"k", static_cast<std::int64_t>(routing.used)},
                                             {"activation_type", std::string("swiglu")},
                                             {"swiglu_fusion", std::int64_t{1}},
                                             {"activation_alpha", 1.0F},
                                             {"activation_beta", 0.0F},
                                             {"normalize_routing_weights", std::int64_t{1}},
                                             {"expert_weight_bits", static_cast<std::int64_t>(layout.bits)},
                                             {"block_size", static_cast<std::int64_t>(layout.block)}};
    if (source_.options.accuracy_level != 0) attributes.push_back({"accuracy_level", source_.options.accuracy_level});
    make(node.output, pen_.add("QMoE", std::move(inputs), std::move(attributes), kMicrosoftDomain));
  }

  // --- norms ---------------------------------------------------------------------------------------------------------

  std::string draw_norm(const std::string& x, const FlatNode& node, const RmsNorm& norm) {
    const std::string weight = weights_.numbers(part(node, norm.part));
    const auto length = static_cast<std::int64_t>(norm.group);
    const std::string heads = length == 0 ? x : pen_.add("Reshape", {x, pen_.integers({0, 0, -1, length})});
    const std::string normed =
        pen_.add("SimplifiedLayerNormalization", {heads, weight},
                 {{"axis", std::int64_t{-1}}, {"epsilon", norm.epsilon}, {"stash_type", std::int64_t{1}}});
    return length == 0 ? normed : pen_.add("Reshape", {normed, pen_.integers({0, 0, -1})});
  }

  // With the norm that reads it, where there is one.
  bool draw_sum(std::size_t index) {
    const FlatNode& sum = flat_.nodes[index];
    const auto& readers = flat_.readers[sum.output];
    const auto reader = std::ranges::find_if(readers, [&](std::size_t candidate) {
      const auto* const norm = as<RmsNorm>(flat_.nodes[candidate]);
      return norm != nullptr && norm->group == 0 && !is_drawn(candidate) && !is_absorbed_[candidate];
    });
    if (reader == readers.end()) return false;
    const FlatNode& norm = flat_.nodes[*reader];
    const RmsNorm& op = *as<RmsNorm>(norm);
    enter(norm);
    const std::string weight = weights_.numbers(part(norm, op.part));
    const std::string out =
        pen_.add("SkipSimplifiedLayerNormalization", {value(sum.inputs[0]), value(sum.inputs[1]), weight},
                 {{"epsilon", op.epsilon}}, kMicrosoftDomain, 4);
    for (const std::size_t unused : {std::size_t{1}, std::size_t{2}}) pen_.leave_out(GraphPen::output(out, unused));
    make(norm.output, out);
    make(sum.output, GraphPen::output(out, 3));
    set_drawn(*reader);
    return true;
  }

  std::map<std::size_t, Group> groups_;      // by the attention's node
  std::map<std::size_t, bool> is_absorbed_;  // nodes that an attention, or a mixture, draws
  std::map<std::size_t, Mixture> mixtures_;  // by the node that mixes
  std::set<std::size_t> mixed_;              // nodes within these
  std::string lengths_, total_length_, positions_;
};

}  // namespace

std::unique_ptr<DecoderDrawing> make_genai_drawing(const DrawingSource& source) {
  return std::make_unique<GenaiDrawing>(source);
}

}  // namespace nibble
