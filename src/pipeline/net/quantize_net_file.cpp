// SPDX-License-Identifier: Apache-2.0
#include "pipeline/net/quantize_net_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "base/elapsed.h"
#include "net/simplify.h"
#include "nibble/error.h"
#include "pipeline/net/judge_net.h"
#include "pipeline/net/net_samples.h"

namespace nibble {
namespace {

// What is written is a net that makes what was judged, but for the order of sums: where that takes a value to the other
// side of a half, what follows is rounded anew, and two such runs are as far from each other as from what is not
// rounded.
double allowed_noise(const NetQuantization& made) {
  const bool is_dynamic = std::ranges::any_of(made.codes, [](const auto& one) { return one.second.is_dynamic; });
  return (is_dynamic ? 1e-2 : 1e-4) + 2 * made.made.worst;  // what matrices read is rounded there as well
}

// Where values are rounded when the net runs: as what is written makes it.
void judge_again(const WrittenNet& written, const Net& net, std::span<const NetSample> samples, NetQuantization& made,
                 Machine& machine) {
  const NetVerdict verdict = judge_net(read_back(written), net, samples, {}, machine);
  made.made.worst = 0;
  for (std::size_t i = 0; i < verdict.outputs.size(); ++i) {
    made.made.noise[i] = verdict.outputs[i].noise;
    made.made.worst = std::max(made.made.worst, verdict.outputs[i].noise);
  }
  made.made.rows = verdict.agreement.count;
  made.made.same = verdict.agreement.hits;
  made.made.leads = made.made.near = 0;  // of weights alone
}

NetRuntime runtime_of(const NetFileRequest& request) {
  const bool is_lite = std::ranges::any_of(
      request.outputs, [](const NetOutput& output) { return output.container != NetContainer::onnx; });
  if (request.quantize.is_dynamic &&
      (is_lite || request.quantize.runtime == NetRuntime::tensorrt || request.quantize.weight_bits != 8))
    throw Error(
        ErrorKind::invalid_argument,
        "values are rounded when the net runs in ONNX alone, beside weights of 8 bits: ONNX Runtime and OpenVINO "
        "do so",
        "container");
  if (!is_lite) return request.quantize.runtime;
  if (request.quantize.runtime == NetRuntime::tensorrt)
    throw Error(ErrorKind::invalid_argument, "TensorRT reads ONNX: write that by itself", "container");
  if (request.quantize.weight_bits != 8)
    throw Error(ErrorKind::invalid_argument,
                fmt::format("TensorFlow Lite's operators multiply codes of 8 bits: ask for int8, or write int{} as "
                            "ONNX",
                            request.quantize.weight_bits));
  return NetRuntime::tflite;
}

}  // namespace

NetFileSummary quantize_net_file(const std::filesystem::path& path, NetOptions options, const NetFileRequest& request,
                                 Machine& machine) {
  const auto start = std::chrono::steady_clock::now();
  NetQuantizeOptions quantize = request.quantize;
  quantize.runtime = runtime_of(request);
  options.simplifies = false;
  Net net = open_net(path, options);
  Net plain;  // norms say what inputs were like
  if (request.samples.empty()) plain = net;
  simplify(net);
  for (const NetOutput& output : request.outputs) require_writable(net, output);
  NetFileSummary summary;
  std::vector<NetSample> samples;
  if (request.samples.empty())
    samples = make_samples(plain, std::min<std::size_t>(request.most_samples, 32), request.seed, machine,
                           summary.made_samples);
  else
    samples = read_samples(net, request.samples, request.most_samples);
  for (const auto& [part, numbers] : net.weights) summary.parameters += numbers.size();
  summary.quantization = quantize_net(net, samples, quantize, machine);
  summary.source_bytes = std::filesystem::file_size(path);
  std::vector<WrittenNet> written;
  for (const NetOutput& output : request.outputs) {
    written.push_back(spell_net(summary.quantization.net, summary.quantization.codes, output));
    if (output.path.empty()) written.back().files.front().first = path;  // as messages call it
    require_same_when_read(written.back(), summary.quantization.net, samples.front(),
                           allowed_noise(summary.quantization), machine);
    if (quantize.is_dynamic)
      judge_again(written.back(), net, split_samples(net, samples).judging, summary.quantization, machine);
    summary.files.push_back({output, written.back().bytes(), written.back().opset});
  }
  for (const WrittenNet& one : written)
    if (!one.output.path.empty()) commit(one);
  summary.seconds = seconds_since(start);
  return summary;
}

}  // namespace nibble
