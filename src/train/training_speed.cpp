// SPDX-License-Identifier: Apache-2.0
#include "train/training_speed.h"

#include "base/elapsed.h"
#include "base/progress_meter.h"
#include "base/random.h"

namespace nibble {

std::vector<double> measure_training(const SourceModel& model, const TrainingSpeedOptions& options, Machine& machine) {
  NetworkWeights weights(model, machine.pool);
  weights.train([](const NetworkWeight&) { return true; });
  Tape tape(model.parts().network(), weights, {.arithmetic = options.arithmetic}, machine);
  Random random(1);
  std::vector<std::int32_t> ids(options.batch.tokens() + 1);
  for (std::int32_t& id : ids) id = static_cast<std::int32_t>(random.next() % model.config().vocab_size);
  const std::span<const std::int32_t> read(ids.data(), options.batch.tokens()),
      predicted(ids.data() + 1, options.batch.tokens());
  const LossFunction loss = next_token_loss(predicted, machine);
  ProgressMeter meter(options.progress, "train", options.repetitions + 1);
  std::vector<double> seconds;
  for (std::size_t run = 0; run <= options.repetitions; ++run) {
    const auto start = std::chrono::steady_clock::now();
    tape.run(read, options.batch, loss, Tape::Walk::there_and_back);
    if (run > 0) seconds.push_back(seconds_since(start));
    meter.report(run + 1);
  }
  return seconds;
}

}  // namespace nibble
