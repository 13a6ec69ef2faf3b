// SPDX-License-Identifier: Apache-2.0
//
// Quantizes a model whose method needs statistics: layer by layer, in the order in which text meets the sites, so that every Linear is
// rounded for the inputs that the layers before it, already quantized, will give it (true-sequential). Internal to pipeline/.
//
//   LayerQuantizer(source, plan, options, *writer, pool, meter, work).run();
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/progress_meter.h"
#include "calibrate/adequacy.h"
#include "calibrate/layer_walk.h"
#include "io/checkpoint_writer.h"
#include "pipeline/quantize_model.h"
#include "pipeline/quantize_plan.h"
#include "pipeline/work_directory.h"
#include "quantize/output_error.h"
#include "quantize/method.h"
#include "quantize/statistics.h"

namespace nibble {

// True when a tensor of the plan has a method that needs to know of inputs.
bool needs_calibration(const QuantizePlan& plan, const QuantizeModelOptions& options);

// How much longer a tensor's weights take than an embedding's: what progress is counted in.
std::uint64_t progress_weight(TensorRole role);

class LayerQuantizer {
 public:
  LayerQuantizer(const Checkpoint& source, const QuantizePlan& plan, const QuantizeModelOptions& options, CheckpointWriter& writer, ThreadPool& pool,
                 ProgressMeter& meter, WorkDirectory& work);
  ~LayerQuantizer();
  void run();
  // What rounding took of the outputs, by the tensor's index in the plan.
  const std::map<std::size_t, OutputError>& errors() const { return errors_; }
  // A line for each kind of shortage of the calibration.
  std::vector<std::string> warnings() const;

 private:
  struct Live;  // text on its way through the model
  struct SiteContext;
  // What an output holds in place of a matrix.
  struct Stored {
    Matrix values;
    std::optional<QuantizedTensor> codes;  // where the walk goes on with them
  };

  const ModelTensor& part(std::string_view name, std::int64_t layer) const;
  std::size_t index_of(const ModelTensor& tensor) const;
  bool asks_for(const ModelTensor& tensor, Needs needs) const;
  void begin_walk();
  void embedding();
  void layer(std::int64_t index);
  // Statistics of the layer's sites as its text meets them now, for transforms.
  Statistics preview(std::int64_t index, const LayerWeights& layer);
  // Chooses and folds the layer's scales; fills row_scales_ and column_scales_.
  void transform(std::int64_t index, LayerWeights& layer);
  void head();
  // What the tensor's rounder works out for its site, once for each format and method; null: nothing. context: null beside the layers.
  std::shared_ptr<const RoundPlan> plan_of(const TensorPlan& tensor, const SiteStatistics* site, SiteContext* context);
  // The weights that give a Linear's outputs best for the inputs that it gets now.
  std::vector<float> target_of(std::string_view name, std::int64_t layer, SiteContext& context, const LayerWeights& original,
                               const Matrix& weights);
  // The text goes on through what the step's Linears have become.
  void leave(Step step, const SiteContext& context, const LayerWeights& original, const LayerWeights& current,
             const std::map<std::string_view, QuantizedTensor>& codes);
  SiteContext context_of(Step step, std::int64_t layer, const LayerWeights& original, const LayerWeights& current);
  // Rounds and writes a matrix (in the source's row order); returns what was stored, in the same order.
  // original: the source's weights; the same where no transform and no target has changed them.
  Stored quantize(const ModelTensor& tensor, const Matrix& weights, const Matrix& original, const SiteStatistics* site, SiteContext* context);
  // One band of rows from the work directory, or rounded and left there; then written and decoded into `stored`, in the source's row order.
  void quantize_band(std::size_t index, const Method& method, const RoundBand& band, const std::shared_ptr<const TensorGrid>& grid, Stored& stored);
  void record_error(std::size_t index, const RoundedLinear& linear);
  void report_layer(std::int64_t index, double seconds);
  FormatPtr fast(const FormatPtr& format);
  // True when nothing of the site's Linears is left to be rounded.
  bool is_done(Step step, std::int64_t layer) const;
  void write_vector(const ModelTensor& tensor, const Matrix& values);

  const Checkpoint& source_;
  const QuantizePlan& plan_;
  const QuantizeModelOptions& options_;
  CheckpointWriter& writer_;
  ThreadPool& pool_;
  ProgressMeter& meter_;
  WorkDirectory& work_;
  ModelTensors tensors_;
  std::map<std::string, std::size_t> index_;  // by the target's name
  std::unique_ptr<Live> live_;
  std::optional<Statistics> head_statistics_;
  // Of the layer at work: what a producer's outputs were divided by, and a site's columns multiplied by.
  std::map<std::string, std::vector<float>, std::less<>> row_scales_;
  std::map<Step, std::vector<float>> column_scales_;
  std::map<std::size_t, OutputError> errors_;
  std::vector<SiteWarning> site_warnings_;  // of the walk
  std::set<Step> restored_;  // of the layer at work: sites whose pieces were all there
  std::map<std::string, FormatPtr> fast_;  // with the loops of the processor's instruction set, by name
};

}  // namespace nibble
