// SPDX-License-Identifier: Apache-2.0
#include "pipeline/budget/candidate_group.h"

#include "nibble/error.h"

namespace nibble {

namespace {

std::uint64_t bytes_of(const Decoder& decoder, std::size_t context) {
  return decoder.resident_bytes() + decoder.cache_bytes(context);
}

}  // namespace

bool splits_loss(const Decoder& original, std::size_t windows, bool required) {
  const bool exact = original.multiplies_in_f32();
  if (required && windows == 0)
    throw Error(ErrorKind::invalid_argument,
                "the weights alone are judged by reading windows with products in f32, too, but none are to be read "
                "so; allow some",
                "split_windows");
  if (required && !exact)
    throw Error(ErrorKind::invalid_argument,
                "the weights alone cannot be told from the arithmetic against an original whose own arithmetic rounds; "
                "have all models read in f32, "
                "or name an original that is not quantized",
                "activations");
  return windows > 0 && exact;
}

Decoder& CandidateGroup::add(const SourceModel& checkpoint, const DecoderOptions& options, Machine& machine) {
  const Decoder& as_run = as_run_.emplace_back(checkpoint, options, machine);
  weights_alone_.emplace_back();
  if (split_ && !(as_run.multiplies_in_f32() && as_run.kv_type() == original_.kv_type())) {
    DecoderOptions exact = options;
    exact.kernels.activations = ActivationMode::f32;
    exact.kv = original_.kv_type();
    weights_alone_.back().emplace(checkpoint, exact, machine);
  }
  return as_run_.back();
}

void CandidateGroup::read(SideBySide& pass, std::size_t first, EvaluateOptions options, ThreadPool& pool) {
  std::vector<Decoder*> as_run, weights_alone;
  for (Decoder& decoder : as_run_) as_run.push_back(&decoder);
  for (std::optional<Decoder>& decoder : weights_alone_) weights_alone.push_back(decoder ? &*decoder : nullptr);
  if (split_) options.weights_alone = weights_alone;
  pass.run(original_, as_run, first, options, pool);
}

std::uint64_t CandidateGroup::resident_bytes(std::size_t context) const {
  std::uint64_t bytes = 0;
  for (const Decoder& decoder : as_run_) bytes += bytes_of(decoder, context);
  for (const std::optional<Decoder>& decoder : weights_alone_) bytes += decoder ? bytes_of(*decoder, context) : 0;
  return bytes;
}

void CandidateGroup::clear() {
  as_run_.clear();
  weights_alone_.clear();
}

}  // namespace nibble
