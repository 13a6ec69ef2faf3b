// SPDX-License-Identifier: Apache-2.0
#include "pipeline/quantize/verified_quantization.h"

#include "model/config.h"
#include "model/tokenizer/tokenizer.h"
#include "nibble/error.h"
#include "pipeline/export/model_card.h"

namespace nibble {

namespace {

// Leaves the writer the way that errors do, so that it cleans up.
struct NotAccepted {};

}  // namespace

VerifiedQuantization quantize_verified(const SourceModel& source, const QuantizeModelOptions& options,
                                       const VerifyOptions& verify, Machine& machine,
                                       const ProgressCallback& progress) {
  if (options.dry_run)
    throw Error(ErrorKind::invalid_argument,
                "a dry run writes nothing that could be verified; leave out one of the two");
  read_texts(verify.texts, source.tokenizer(), source.config().context, verify.judge.windows);
  VerifiedQuantization result;
  QuantizeModelOptions judged = options;
  judged.judge = [&](const std::filesystem::path& unreleased) {
    const SourceModel candidate = SourceModel::open(unreleased);
    JudgeOptions judge_options = verify.judge;
    judge_options.progress = progress;
    judge_options.keep_partial = false;
    judge_options.split_required = judge_weights(verify.requirements);
    result.verdict =
        judge_models(source, {{options.output.string(), &candidate}}, verify.texts, judge_options, machine);
    if (!verify.requirements.empty()) result.acceptance = accept(result.verdict, 0, verify.requirements);
    if (result.acceptance && result.acceptance->judgement != Judgement::accepted) throw NotAccepted{};
    add_verdict(unreleased, result.verdict);
  };
  try {
    result.summary = quantize_model(source, judged, machine, progress);
    result.released = true;
  } catch (const NotAccepted&) {
    judged.dry_run = true;
    result.summary = quantize_model(source, judged, machine, {});
  }
  return result;
}

}  // namespace nibble
