// SPDX-License-Identifier: Apache-2.0
//
// A run of training whose state lies beside its output: taken up where it was stopped, saved every so many steps,
// behind the last and when it is cancelled, and forgotten where it has gone astray, since the same command would come
// to that again. Internal to pipeline/.
//
//   const ResumableRun run{training_state_path(output), identity, save_every};
//   summary.resumed_at = run.take_up(trainer, note);
//   run.finish(trainer, meter, pool, [](const TrainingStep& step) { return text_of(step); },
//              [&] { trainer.keep_best(); });
//   ...                   // the output is written; where that fails, the same command goes on here
//   std::filesystem::remove(run.state);
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>

#include "base/output_file.h"
#include "base/progress_meter.h"
#include "nibble/error.h"

namespace nibble {

// Where the state of a run lies.
std::filesystem::path training_state_path(const std::filesystem::path& output);

struct ResumableRun {
  std::filesystem::path state;
  std::map<std::string, std::string> identity;  // what decides the course of it beside its settings
  std::uint64_t save_every = 100;               // steps

  // The step behind which it goes on; 0: it begins.
  template <class Training>
  std::uint64_t take_up(Training& training, const std::function<void(const std::string&)>& note) const {
    remove_abandoned_partials(state);
    if (!std::filesystem::exists(state)) return 0;
    training.take_up(state, identity);
    if (note) note(fmt::format("{}: goes on behind step {}", state.string(), training.steps_done()));
    return training.steps_done();
  }

  // All steps, and `keep` behind the last. tell: of what a step gives, how far the run is, in words. A step may be
  // stopped until it changes what is trained, and leaves the training then as if it had not begun; what follows in it,
  // a judgement among it, is whole.
  template <class Training, class Tell>
  void finish(Training& training, ProgressMeter& meter, ThreadPool& pool, Tell tell,
              const std::function<void()>& keep) const {
    const auto watched_step = [&] {
      const auto watch = meter.watch(pool);
      return training.step();
    };
    try {
      while (!training.is_done()) {
        const auto step = watched_step();
        const std::uint64_t done = training.steps_done();  // 0: the beginning was judged
        if (done != 0 && (done % save_every == 0 || training.is_done())) training.save(state, identity);
        meter.report(done, tell(step));
      }
      keep();
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::cancelled && training.steps_done() != 0) training.save(state, identity);
      if (error.kind() == ErrorKind::unusable_input) std::filesystem::remove(state);
      throw;
    }
  }
};

}  // namespace nibble
