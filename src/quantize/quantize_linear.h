// SPDX-License-Identifier: Apache-2.0
//
// The one way to quantize a Linear: its weights, what is known of its inputs, a format and a method go in; bands of
// rows in that format come out. Pure in its inputs: a band has the same bytes whichever bands were made before it, for
// any number of threads, in any process. Used by quantizations with and without calibration, by budgets that try
// formats, and for every other matrix, which is a Linear of whose inputs nothing is known.
//
//   const LinearTask task{.weights = {.values = tensor.values, .name = tensor.name}, .format = find_format("q4_k"),
//   .method = find_method("gptq"),
//                         .moments = {{.rows = {0, tensor.values.rows()}, .inputs = &site}}};
//   RoundPlans plans;                                     // kept while Linears of the same inputs follow
//   const LinearQuantizer linear(task, plans, machine);
//   for (RowRange rows : bands_of(task.weights, *task.format, 8 << 20)) writer.write(linear.encode(rows));
//   QuantizedTensor whole = quantize_linear(task, machine);
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "format/tensor_source.h"
#include "kernels/linear/input_rotation.h"
#include "kernels/machine.h"
#include "quantize/method.h"

namespace nibble {

struct RowRange {
  std::uint64_t begin = 0, end = 0;
  std::uint64_t count() const { return end - begin; }
};

// What is quantized: a tensor from wherever it comes, its rows in an order of the reader's choice.
struct LinearWeights {
  TensorSource values;
  std::string name{}, file{};  // for messages
  // Row r here is the tensor's row order[r]; empty: the same row.
  std::vector<std::uint32_t> order{};

  std::uint64_t stored_row(std::uint64_t row) const { return order.empty() ? row : order[row]; }
  // What rows begin .. end - 1 here are made of, by the tensor's own numbers. Unpacked to `room`, if they have to be.
  TensorRows read_rows(RowRange rows, QuantizedTensor& room, ThreadPool& pool) const;
};

// All rows in runs of about `elements` weights, which begin at multiples of the format's row_unit and read the rows
// that they write.
std::vector<RowRange> bands_of(const LinearWeights& weights, const Format& format, std::uint64_t elements);

// What is known of the inputs of some rows. Rows that share a Linear may see different inputs (experts in a stack,
// parts of a fused matrix).
struct RowMoment {
  RowRange rows{};
  const SiteStatistics* inputs = nullptr;  // null: nothing
  // How much errors of these rows' outputs cost, and of two together: O of train/loss_curvature.h, [rows, rows] in the
  // order of the rows here. Rows are then rounded together, each for the errors of those before it
  // (quantize/output_feedback.h); their bands may not be cut. Empty: each row by itself.
  std::span<const float> outputs{};
};

struct LinearTask {
  LinearWeights weights;
  FormatPtr format;
  Method method;
  // Ascending ranges at multiples of the format's row_unit that cover all rows; empty: nothing is known of any row's
  // inputs.
  std::vector<RowMoment> moments{};
  // What the output keeps beside codes and grids: the weights' own parts, so that their codes can be copied; or a
  // transform of the inputs, for which they are rounded then (transform/rotation.h); null: all is in the codes.
  std::shared_ptr<const TensorParts> parts{};
};

// What rounders work out once for all Linears that read the same inputs. Grows as it is asked; one thread at a time.
// Entries are kept by the address of the statistics, which outlive this.
class RoundPlans {
 public:
  // Null where the rounder needs none, or knows nothing of the inputs.
  std::shared_ptr<const RoundPlan> of(const Method& method, const FormatPtr& format, const SiteStatistics* inputs,
                                      Machine& machine);
  // What a site's Linears see behind a transform; null where nothing is known.
  const SiteStatistics* rotated(const SiteStatistics* inputs, const ChannelTransform& transform, Machine& machine);

 private:
  struct Known {
    FormatPtr format;  // which the plan refers to
    std::shared_ptr<const RoundPlan> plan;
  };
  std::map<std::pair<const SiteStatistics*, std::string>, Known> known_;
  std::map<std::pair<const SiteStatistics*, std::uint32_t>, SiteStatistics> rotated_;  // by blocks' size
};

class LinearQuantizer {
 public:
  // Fits what is global to the tensor and plans the rounding. Error(corrupt) names file, tensor, row and column of a
  // weight that is NaN or infinite where all weights are looked at here; Error(invalid_argument) when the moments do
  // not cover the rows; Error(unsupported) when they begin between rows that the format keeps together. The task and
  // `plans` outlive this.
  LinearQuantizer(const LinearTask& task, RoundPlans& plans, Machine& machine);
  ~LinearQuantizer();

  // rows: as bands_of gives them, or others that begin at multiples of the format's row_unit, and cut no rows that are
  // rounded together. As encode() returns it,
  // but for the rows themselves, which are zero.
  QuantizedTensor blank(RowRange rows) const;
  // Error(corrupt) names file, tensor, row and column of a weight that is NaN or infinite (the first in output order),
  // Error(unsupported) one that f16 cannot hold. Rows already in the target format are copied byte for byte.
  QuantizedTensor encode(RowRange rows) const;
  // What a reader will find in a band that encode() gave, as rows of matrix[rows * cols] in the order of the weights'
  // own tensor.
  void decode(const QuantizedTensor& band, std::uint64_t first_row, std::span<float> matrix) const;
  // null: the format has none.
  const std::shared_ptr<const TensorGrid>& tensor_grid() const { return grid_; }

 private:
  struct Known;  // of a range of rows: what its inputs say, ready for the rounder

  struct Run;

  // Formats that keep rows together need no look at the whole tensor: every run of rows has its own grid.
  bool has_grids_of_runs() const { return writing_->info().row_unit > 1 && writing_->needs_prepare(); }
  // Rows as they are rounded: read, judged, rotated.
  std::span<const float> read(RowRange rows, std::vector<float>& kept) const;
  void prepare();
  std::unique_ptr<TensorGrid> prepare_run(const Run& run) const;
  void encode_rows(const Run& run, QuantizedTensor& band, std::uint64_t first_row) const;
  void encode_planned(const Run& run, QuantizedTensor& band, std::uint64_t first_row) const;
  void encode_together(const Run& run, std::span<const float> values, QuantizedTensor& band,
                       std::uint64_t first_row) const;
  void copy_rows(RowRange rows, QuantizedTensor& band) const;

  const LinearTask& task_;
  Machine& machine_;
  FormatPtr reading_, writing_;  // with the loops of the instruction set
  bool is_copy_ = false, is_raw_ = false;
  std::optional<InputRotation> rotation_;  // of what is not copied
  std::vector<Known> known_;
  std::shared_ptr<const TensorGrid> grid_;
};

// All rows at once, for what fits into memory.
QuantizedTensor quantize_linear(const LinearTask& task, Machine& machine);

}  // namespace nibble
