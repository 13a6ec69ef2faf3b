// SPDX-License-Identifier: Apache-2.0
//
// Quantizes a model whose method needs statistics: layer by layer, in the order in which text meets the sites, so that
// every Linear is rounded for the inputs that the layers before it, already quantized, will give it (true-sequential).
// Makes the tasks; TensorOutput carries them out. Internal to pipeline/.
//
//   LayerQuantizer(source, plan, options, output, machine, progress).run();
#pragma once

#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "calibrate/adequacy.h"
#include "calibrate/layer_walk.h"
#include "distribute/transport.h"
#include "kernels/machine.h"
#include "nibble/progress.h"
#include "pipeline/quantize/layer_learner.h"
#include "pipeline/quantize/planned_parts.h"
#include "pipeline/quantize/site_view.h"
#include "pipeline/quantize/tensor_output.h"
#include "quantize/statistics.h"

namespace nibble {

// True when a tensor of the plan has a method that needs to know of inputs.
bool needs_calibration(const QuantizePlan& plan, const QuantizeModelOptions& options);

class LayerQuantizer {
 public:
  // All outlive this. progress: of what comes before the layers, stage "gradients". transport: of several ranks, which
  // share windows, rows and experts, and call the same functions; null: none.
  LayerQuantizer(const SourceModel& source, const QuantizePlan& plan, const QuantizeModelOptions& options,
                 TensorOutput& output, Machine& machine, const ProgressCallback& progress,
                 Transport* transport = nullptr);
  ~LayerQuantizer();
  void run();
  // A line for each kind of shortage of the calibration.
  std::vector<std::string> warnings() const;
  // Of the layers that have experts.
  const std::vector<ExpertTokens>& experts() const { return experts_; }

 private:
  struct Live;  // text on its way through the model
  struct LinearTaskOf;

  void begin_walk();
  void embedding();
  void layer(std::int64_t index);
  // Chooses the layer's scales and folds them into `weights`.
  LayerScales transform(std::int64_t index, LayerWeights& weights);
  // Statistics of the layer's sites as its text meets them now, for transforms.
  Statistics preview(std::int64_t index, const LayerWeights& layer);
  // Of the site, or of some of its experts, or of the groups of rows that the shares are of.
  std::vector<SiteView> observe(const Site& site, std::int64_t layer, ExpertRange experts, const LayerPair& weights,
                                const LayerScales& scales, std::span<const TokenShares> shares);
  // What a site's experts see together, where one of them saw too little to be taken alone.
  std::optional<SiteStatistics> pooled_inputs(const Site& site, std::int64_t layer, const LayerWeights& current,
                                              const LayerScales& scales);
  // Of the text at this site; noted for the report.
  ExpertTokens count_tokens_of(const Site& site, std::int64_t layer, const LayerWeights& current);
  std::uint64_t moment_bytes(const Site& site, std::int64_t layer) const;
  void learn(LayerWeights& current);
  void quantize_site(const Site& site, std::int64_t layer, const LayerWeights& original, LayerWeights& current,
                     const LayerScales& scales);
  // Of several ranks: whether this one rounds the expert.
  bool is_made_here(const Site& site, std::int64_t expert) const {
    return site.experts == 0 || !is_shared(transport_) || maker_of(expert, *transport_) == transport_->rank();
  }
  void make_experts_ahead(const Site& site, ExpertRange experts, std::int64_t layer, const LayerPair& weights,
                          LayerWeights& current, const LayerScales& scales, std::span<SiteView> views);
  void aim(const std::string& part, std::int64_t layer, const LayerPair& weights, Matrix& matrix,
           const LayerScales& scales, std::span<SiteView> views, Transport* ranks);
  void quantize_parts(std::span<const std::string> parts, std::int64_t layer, const LayerPair& weights,
                      LayerWeights& current, const LayerScales& scales, std::span<SiteView> views);
  void head();
  // Rounds and writes a matrix (in the source's row order); returns what was stored, in the same order.
  // original: the source's weights; the same where no transform and no target has changed them. views: of all rows, or
  // of groups of them.
  StoredMatrix quantize(std::string_view part, std::int64_t layer, const Matrix& weights, const Matrix& original,
                        std::span<SiteView> views);
  void write_vectors(std::int64_t layer, LayerWeights& weights);
  void report_layer(std::int64_t index, double seconds);

  const SourceModel& source_;
  const QuantizePlan& plan_;
  const QuantizeModelOptions& options_;
  TensorOutput& output_;
  Machine& machine_;
  const ProgressCallback& progress_;
  Transport* transport_;
  PlannedParts parts_;
  LayerLearner learner_;
  std::unique_ptr<Live> live_;
  std::optional<Statistics> head_statistics_;
  std::vector<SiteWarning> site_warnings_;  // of the walk
  std::vector<ExpertTokens> experts_;
  std::optional<SiteStatistics> pooled_;  // of the site at work
  std::set<std::string> restored_;        // of the layer at work: sites whose pieces were all there
};

}  // namespace nibble
