// SPDX-License-Identifier: Apache-2.0
#include "nibble/convert.h"

#include "nibble/error.h"
#include "pipeline/api/model_state.h"
#include "pipeline/convert/convert_model.h"

namespace nibble {
namespace {

// Both models in f32, so that nothing but the numbers differs.
VerifyOptions verify_options(const std::vector<NamedText>& texts) {
  VerifyOptions verify{.texts = texts};
  verify.judge.kernels.activations = ActivationMode::f32;
  verify.judge.kv = KvType::f32;
  return verify;
}

}  // namespace

ConvertSummary convert(const Model& model, const ConvertRequest& request) {
  if (request.output.empty() && !request.dry_run) throw Error(ErrorKind::invalid_argument, "no output is named");
  if (!request.verify.empty() && (!request.lossy || request.dry_run))
    throw Error(ErrorKind::invalid_argument,
                "texts have no effect where no number may be rounded, or nothing is written", "verify");
  ConvertOptions options{.output = request.output,
                         .container = request.container,
                         .dtype = request.dtype,
                         .lossy = request.lossy,
                         .strict = request.strict,
                         .dry_run = request.dry_run,
                         .sync = request.sync,
                         .shard_bytes = request.shard_bytes};
  if (!request.verify.empty()) options.verify = verify_options(request.verify);
  Machine machine = api::make_machine(request.machine);
  return convert_model(model.state().checkpoint, options, machine, request.progress);
}

}  // namespace nibble
