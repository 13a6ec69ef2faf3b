// SPDX-License-Identifier: Apache-2.0
//
// From stored tensors to weights ready to run: values are judged here, once, with the tensor's name in every error.
// Internal to engine/.
#pragma once

#include <string_view>
#include <vector>

#include "kernels/attention/latent_heads.h"
#include "kernels/linear/linear.h"
#include "kernels/machine.h"
#include "model/arch/architecture.h"
#include "model/source_model.h"
#include "model/stored_activations.h"

namespace nibble {

class WeightLoader {
 public:
  WeightLoader(const SourceModel& checkpoint, const ModelTensors& tensors, const KernelOptions& kernels,
               Machine& machine)
      : checkpoint_(checkpoint),
        tensors_(tensors),
        spelling_(spelling_of(checkpoint)),
        kernels_(kernels),
        activations_(kernels.activations == ActivationMode::automatic || kernels.activations == ActivationMode::native
                         ? read_activations(checkpoint)
                         : StoredActivations{}),
        machine_(machine) {}

  // A matrix repacked for this processor. Errors as SourceModel::stored's; corrupt: a value that is not finite.
  PackedLinear matrix(std::string_view part, std::int64_t layer) const;
  // A matrix that makes keys and values of a latent vector, turned around.
  LatentHeads latent_heads(std::string_view part, std::int64_t layer, const LatentHeads::Shape& shape) const;
  // A vector, or the rows of a matrix one after the other, widened to f32; empty when the configuration has no such
  // part.
  std::vector<float> vector(std::string_view part, std::int64_t layer) const;

 private:
  // view: all rows of what is stored.
  void check_values(const StoredTensor& stored, const QuantizedView& view) const;
  KernelOptions kernels_for(std::string_view part, const StoredTensor& stored) const;

  const SourceModel& checkpoint_;
  const ModelTensors& tensors_;
  Spelling spelling_;
  KernelOptions kernels_;
  StoredActivations activations_;  // what the checkpoint wants, where the caller leaves it to that
  Machine& machine_;
};

}  // namespace nibble
