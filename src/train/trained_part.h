// SPDX-License-Identifier: Apache-2.0
//
// A tensor of a quantized model with the numbers that are trained of it: of a matrix in codes those of its grids, and
// where that is asked for its codes, too; of a vector (norms, biases) the vector. Every number is where it began plus a
// change that is counted in a size of its own, so that one rate is right for all. Codes learn as train/learned_rounding
// has it, from positions that begin at their points. One thread at a time; the pool does the work.
//
//   TrainedPart one(quantized, part, *weights.find(part.layer, part.part), pool);
//   one.begin(0.5);  parameters.push_back(one.numbers());
//   one.put_values(TrainedPart::Values::trained, pool);  tape.run(...);  one.find_slopes(pool);  optimizer.step(...);
//   quantized.replace(one.part(), one.stored(pool));
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "model/source_model.h"
#include "train/learned_rounding.h"
#include "train/network_weights.h"
#include "train/parameter.h"
#include "train/trained_matrix.h"

namespace nibble {

class TrainedPart {
 public:
  // weight: the network's, as it reads the part. Both outlive this. Error(unsupported): why numbers of this tensor
  // cannot be trained.
  TrainedPart(const SourceModel& quantized, const ModelTensor& part, NetworkWeight& weight, ThreadPool& pool);

  const ModelTensor& part() const { return *part_; }
  const NetworkWeight& weight() const { return *weight_; }
  bool is_matrix() const { return grids_ != nullptr; }
  double bits_per_weight() const { return format_->info().bits_per_weight; }
  std::uint64_t num_numbers() const;  // that are trained

  // Nothing has changed yet. share: a change of one, of each number's size.
  void begin(double share);
  // Codes are trained, too; behind begin(). False where they are not learned (LearnedRounding::refusal): they stay.
  bool begin_codes(double share, ThreadPool& pool);
  bool has_codes() const { return codes_ != nullptr; }

  // What an optimizer changes: numbers, and of codes the positions that are rounded, [rows, cols] in distances between
  // points, 0 being the points that it began with. Valid while nothing is begun anew.
  Parameter numbers();
  Parameter positions() { return codes_->offsets(); }

  // The network's weights become what they are with the changes: as they are trained, or as they would be read from a
  // file.
  enum class Values { trained, stored };
  void put_values(Values values, ThreadPool& pool);
  // From the gradient by the network's weights, which have the values that were put last.
  void find_slopes(ThreadPool& pool);
  // With the numbers that were put last.
  QuantizedTensor stored(ThreadPool& pool) const;

 private:
  struct Numbers {
    std::vector<float> begin, sizes, changes, slopes;
    float at(std::size_t i) const { return begin[i] + sizes[i] * changes[i]; }
  };

  const ModelTensor* part_;
  NetworkWeight* weight_;
  FormatPtr format_;
  StoredNumbers spelling_;                   // of vectors
  std::unique_ptr<QuantizedTensor> planes_;  // of matrices; what their grids are read from
  std::unique_ptr<TrainedMatrix> grids_;
  std::uint64_t num_numbers_ = 0;  // of grids whose codes are trained, too
  Numbers numbers_;
  std::unique_ptr<LearnedRounding> codes_;  // that are trained, and numbers of their grids in place of those
};

}  // namespace nibble
