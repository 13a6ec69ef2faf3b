// SPDX-License-Identifier: Apache-2.0
//
// The way of a plan's tensors into an output: tasks are carried out band by band, so that memory is bounded by a band,
// and what a run before has finished is taken from where it left it. Internal to pipeline/; one thread at a time, the
// pool does the work.
//
//   TensorOutput output(plan, bands, meter, {.work = &work}, machine);
//   RoundPlans plans;
//   output.write(index, task, plans);
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "base/progress_meter.h"
#include "calibrate/layer_walk.h"
#include "distribute/transport.h"
#include "kernels/machine.h"
#include "pipeline/quantize/band_writer.h"
#include "pipeline/quantize/job_part.h"
#include "pipeline/quantize/quantize_plan.h"
#include "pipeline/quantize/work_directory.h"
#include "quantize/output_error.h"
#include "quantize/quantize_linear.h"

namespace nibble {

// How much longer a tensor's weights take than an embedding's, in a calibrated quantization or another: what progress
// is counted in.
std::uint64_t progress_weight(TensorRole role, bool is_calibrated);

struct TensorOutputOptions {
  WorkDirectory* work = nullptr;     // of a calibrated quantization: where finished pieces are left; null: nowhere
  bool keeps_rows_together = false;  // of a layer's matrix all rows are one band
  // Of one of several processes: what it makes and leaves in `work`, vectors and copies, too. Null: everything.
  const PartShare* share = nullptr;
  // Ranks that make every matrix together, each some of its rows (of experts: matrix by matrix, set_maker()), and all
  // call the same functions. Rank 0 alone writes, and has `work`. Null: none.
  Transport* transport = nullptr;
};

// What the output holds in place of a matrix, rows in the source's order.
struct StoredMatrix {
  Matrix values;
  std::optional<QuantizedTensor> codes;  // where they are asked for and rows may be put into another order
  std::shared_ptr<const TensorGrid> tensor_grid;
};

class TensorOutput {
 public:
  TensorOutput(const QuantizePlan& plan, BandWriter& bands, ProgressMeter& meter, const TensorOutputOptions& options,
               Machine& machine);

  // The plan's row order and name for weights that may lie elsewhere than in the source's tensor. Their bytes outlive
  // the result.
  LinearWeights weights_of(std::size_t index, TensorSource values) const;

  // Carries out a task whose weights are weights_of(index, ...). after_band: called when a band's rows have been read.
  void write(std::size_t index, const LinearTask& task, RoundPlans& plans,
             const std::function<void()>& after_band = {});
  // The same, and says what is stored.
  StoredMatrix write_and_keep(std::size_t index, const LinearTask& task, RoundPlans& plans, bool keeps_codes);
  // Says what would be stored, with its codes, and writes nothing.
  StoredMatrix round_and_keep(std::size_t index, const LinearTask& task, RoundPlans& plans);
  // Of a matrix that one rank makes by itself before the others hear of it: its bands, for write() and
  // write_and_keep() while set_maker() names this rank. Not collective.
  void make_ahead(std::size_t index, const LinearTask& task, RoundPlans& plans);
  // Who makes whole matrices by itself; nothing: all ranks make each together.
  void set_maker(std::optional<std::size_t> rank) { maker_ = rank; }
  // A norm or a bias, its elements in the source's order.
  void write_vector(std::size_t index, std::span<const float> values);

  // True when nothing of the tensor is left to be rounded.
  bool is_done(std::size_t index) const;
  // False of tensors that other processes make: writing them does nothing.
  bool concerns(std::size_t index) const { return options_.share == nullptr || options_.share->touches(index); }

  // The names of what `share` leaves in `work`; null: of everything.
  std::vector<std::string> piece_names() const;
  // Writes a tensor of which all pieces are there. Error(corrupt) names one that is damaged or missing.
  void write_pieces(std::size_t index);

  // What rounding took of the outputs. Kept with the pieces: a run that goes on from them does not know the inputs any
  // more.
  void record_error(std::size_t index, const RoundedLinear& linear);
  const std::map<std::size_t, OutputError>& errors() const { return errors_; }

  // What a layer has learnt, kept likewise. The first: of a run before, if there is any.
  std::optional<LearntLayer> find_learnt(std::int64_t layer);
  void record_learnt(const LearntLayer& learnt);
  const std::vector<LearntLayer>& learnt() const { return learnt_; }
  // Work other than writing tensors, in the meter's units.
  void advance(std::uint64_t units, std::string_view item) { meter_.advance(units, item); }

 private:
  std::uint64_t weight_of(const TensorPlan& tensor) const;
  void keep_band(const LinearQuantizer& linear, const QuantizedTensor& band, std::uint64_t first_row,
                 const LinearTask& task, bool keeps_codes, StoredMatrix& stored) const;
  using BandUse = std::function<void(const LinearQuantizer&, const QuantizedTensor& band, std::uint64_t first_row)>;
  std::vector<RowRange> bands_of_tensor(std::size_t index, const LinearWeights& weights) const;
  std::vector<RowRange> bands_of_tensor(std::size_t index) const;
  bool owns(std::size_t index, RowRange rows) const {
    return options_.share == nullptr || options_.share->owns(index, rows);
  }
  // is_kept: whether bands are looked at; of ranks those that do not write have none otherwise.
  void write_bands(std::size_t index, const LinearTask& task, RoundPlans& plans, bool is_kept, const BandUse& use);
  bool keeps_pieces_of(std::size_t index) const;
  bool load_error(std::size_t index);
  QuantizedTensor piece(std::size_t index, const LinearQuantizer& linear, RowRange rows, bool is_kept);
  QuantizedTensor piece_of_ranks(std::size_t index, const LinearQuantizer& linear, RowRange rows, bool is_kept);
  QuantizedTensor piece_of_shares(std::size_t index, const LinearQuantizer& linear, RowRange rows, bool is_kept);
  bool has_piece(const std::string& name) const;

  const QuantizePlan& plan_;
  std::vector<std::size_t> output_of_;  // by the tensor's place in the plan
  BandWriter& bands_;
  ProgressMeter& meter_;
  TensorOutputOptions options_;
  Machine& machine_;
  std::map<std::size_t, OutputError> errors_;  // by the tensor's index in the plan
  std::vector<LearntLayer> learnt_;
  // Of several ranks: the pieces that rank 0 has found, who makes what is written now, and what this one has made
  // ahead.
  std::set<std::string> found_;
  std::optional<std::size_t> maker_;
  std::map<std::string, QuantizedTensor> ahead_;
};

// A tensor by itself, of whose inputs nothing is known.
void write_alone(std::size_t index, const QuantizePlan& plan, const QuantizeModelOptions& options,
                 const SourceModel& source, TensorOutput& output, Machine& machine);

}  // namespace nibble
