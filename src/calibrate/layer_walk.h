// SPDX-License-Identifier: Apache-2.0
//
// The calibration pass (layer-wise, true-sequential): carries windows of text through a network one layer at a time, as
// it is drawn. What has to outlive a site is kept of all windows in f32; weights are one layer's only. Every site shows
// the activations that its Linears read, window by window, so that a layer can be changed piece by piece while the text
// walks through it. The same bits for any number of threads. One thread at a time; the pool does the work.
//
//   LayerWalk walk(network, tokens, {.kernels = kernels}, machine);
//   walk.embed(stored_rows(checkpoint), begin);
//   for each layer: for (const Site& site : layer.drawing().sites) {
//     walk.pack(site, layer);
//     for (window ...) use(walk.inputs(site, layer, window));       // [length, site.width]
//     walk.leave(site, layer);                                       // applies the site's Linears
//   }
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "calibrate/calibration_text.h"
#include "calibrate/kept_inputs.h"
#include "calibrate/layer_weights.h"
#include "calibrate/spillable_bytes.h"
#include "calibrate/walk_plan.h"
#include "engine/program.h"
#include "graph/network.h"
#include "kernels/attention/attention.h"
#include "kernels/linear/linear.h"
#include "kernels/machine.h"
#include "nibble/calibrate.h"

namespace nibble {

inline constexpr std::string_view kHeadSite = "head_in";

WalkArithmetic parse_walk_arithmetic(std::string_view spelling);  // Error(invalid_argument) lists what is known
std::string_view walk_arithmetic_name(WalkArithmetic arithmetic);
// f32 or int8.
WalkArithmetic resolve_walk_arithmetic(WalkArithmetic arithmetic, const Network& network);

struct WalkOptions {
  KernelOptions kernels{};  // the instruction set, and how activations are rounded where the arithmetic is int8
  WalkArithmetic arithmetic = WalkArithmetic::f32;
  // In int8: inputs that take products to compute (mlp_out's) are kept, rounded as products round, for windows to be
  // looked at before they are left. A byte a number.
  bool keeps_inputs = false;
  // What is kept of all windows lies in a file without a name there; empty: in memory. The results are the same.
  std::filesystem::path spill_directory{};
};

// Of a site's experts begin .. end; of a site that has none, -1 .. 0.
struct ExpertRange {
  std::int64_t begin = -1, end = 0;
  bool operator==(const ExpertRange&) const = default;
};

// What text is between two layers: the stream of all windows, and what crosses to layers behind, which walks share
// until they make it anew.
struct WalkState {
  SpillableBytes stream;
  std::map<std::string, std::shared_ptr<SpillableBytes>> crossing;  // by Network::name_of
};

class LayerWalk {
 public:
  // network and tokens outlive this; layers that walk through are of this very network.
  LayerWalk(const Network& network, const CalibrationTokens& tokens, const WalkOptions& options, Machine& machine);

  std::size_t windows() const { return tokens_.windows(); }
  std::size_t length() const { return tokens_.length; }

  // The stream becomes rows of the embedding, and what the network makes of them. begin: Network::kBegin's weights.
  void embed(const EmbeddingRows& rows, const LayerWeights& begin);

  // Packs the weights of the site's Linears. Call it whenever they have changed.
  void pack(const Site& site, const LayerWeights& layer);
  // One of them alone; from the codes that an engine will read where the walk multiplies_codes(). Rows in the source's
  // order.
  void pack(std::string_view part, const Matrix& weights);
  void pack(std::string_view part, const QuantizedView& weights);
  bool multiplies_codes() const { return kernels_.activations == ActivationMode::int8; }
  // What the site's Linears read in this window; valid until the next call. The Linears of the sites before it are
  // packed.
  std::span<const float> inputs(const Site& site, const LayerWeights& layer, std::size_t window) {
    return inputs(site, layer, window, {site.first_expert(), site.end_expert()}, {});
  }
  // The same for some of a site's experts, whose inputs alone are made. routing: which of the window's tokens they are
  // sent, [length, experts]; empty: those that the layer's router chooses.
  std::span<const float> inputs(const Site& site, const LayerWeights& layer, std::size_t window, ExpertRange experts,
                                std::span<const float> routing);
  // Of the window whose inputs were asked for last, what one of these experts reads, [tokens, width]; of -1 what all
  // of them do, or the site. Valid until the next call.
  std::span<const float> inputs_of(const Site& site, std::int64_t expert);
  // The site's routing of a window, [length, experts], 0 where a token is not sent.
  std::span<const float> routing_of(const Site& site, const LayerWeights& layer, std::size_t window) const {
    return kept_value(site.routing, layer, window);
  }
  // Applies the site's packed Linears to a window, or to all: afterwards the next site's inputs are ready.
  void leave(const Site& site, const LayerWeights& layer, std::size_t window);
  void leave(const Site& site, const LayerWeights& layer);

  // True where Site::added can be looked at: its term before the site is left, the sum behind.
  bool shows_sum(const Site& site, const LayerWeights& layer) const;
  // A value that is kept of the window at this point of the layer, [length, width].
  std::span<const float> kept_value(ValueId value, const LayerWeights& layer, std::size_t window) const;
  // Between two layers, to come back to.
  WalkState save() const;
  void restore(const WalkState& saved);
  // The final norm of a window's stream, what the head reads.
  std::span<const float> head_inputs(std::span<const float> final_norm, std::size_t window);
  // What the head's Linear gives for some tokens, [tokens, vocabulary], becomes logits, where the network does
  // something behind it.
  void finish_logits(std::span<float> logits, std::size_t tokens);

 private:
  // A value of every window, [windows, length, width].
  struct Store {
    std::uint64_t width = 0;
    SpillableBytes memory;
  };
  // A site's inputs that took products: of the window that was asked for last, and of all where they are kept.
  struct Costly {
    const Program* program = nullptr;
    std::optional<std::size_t> window;
    ExpertRange experts;  // of them, in that window
    std::optional<KeptInputs> kept;
    std::uint64_t width = 0;  // of those that are kept
    ActivationFormat format;
  };

  void add_plan(const DrawnGraph& drawing);
  const WalkPlan& plan_of(const DrawnGraph& drawing) const { return plans_.at(&drawing); }
  const SitePlan& plan_of(const Site& site, const LayerWeights& layer) const;
  void run(const Program& program, const LayerWeights& layer, const Program::Bound& bound,
           std::optional<ExpertRange> experts = {});
  std::span<const float> make_inputs(const Site& site, const LayerWeights& layer, std::size_t window,
                                     ExpertRange experts, std::span<const float> routing);
  void add_crossings(const std::vector<Crossing>& passed, const Graph& graph, std::int64_t layer);
  // Where a layer makes them anew, so that what was saved stays what it is.
  void own_crossings(const std::vector<ValueId>& made, const LayerWeights& layer);
  float* stream(std::size_t window) const;
  float* place(ValueId value, const LayerWeights& layer, std::size_t window) const;
  void keep_costly(const Site& site, const SitePlan& plan);
  void forget();
  // The windows are met one after the other: what is kept of the last one may leave memory.
  void visit(std::size_t window);
  void copy_by_window(const SpillableBytes& from, const SpillableBytes& to) const;

  const Network& network_;
  const CalibrationTokens& tokens_;
  KernelOptions kernels_;
  FormatPtr format_;  // what weights are packed in
  Machine& machine_;
  bool keeps_inputs_ = false;
  std::filesystem::path spill_directory_;
  Workspace workspace_;
  std::map<const DrawnGraph*, WalkPlan> plans_;
  Program head_inputs_;
  std::optional<Program> behind_embeddings_;  // what is made of the rows that are looked up; none: they are the stream
  std::optional<Program> behind_head_;        // what is done in place to what it gives
  std::map<std::string, PackedLinear, std::less<>> packed_;
  std::map<std::string, LatentHeads, std::less<>> packed_latents_;
  std::map<std::string, LatentHeads::Shape, std::less<>> latents_;  // the parts that are packed so
  // Stay in floating point: routers, which would send tokens elsewhere, and what no output holds rounded.
  std::set<std::string, std::less<>> unrounded_;
  // Of one window's attention: a drawing's states, those of one shape one after the other.
  std::vector<std::pair<KeyValueState, KvLayer>> caches_;
  std::vector<std::vector<float>> memories_;  // of one window's recurrent states
  std::vector<Store> stores_;                 // the first one is the stream between layers
  std::map<std::string, std::shared_ptr<SpillableBytes>> crossing_;
  std::map<std::string, std::uint64_t> crossing_widths_;
  std::size_t visited_ = 0;  // the window that was met last
  Costly costly_;
  std::vector<float> input_;  // of a site, where it is not kept
  // Of experts: of what was asked for last, whose row is whose, and the rows of one.
  std::span<const float> last_inputs_;
  ExpertGroups groups_;
  std::vector<float> gathered_;
};

}  // namespace nibble
