// SPDX-License-Identifier: Apache-2.0
#include "pipeline/net/quantize_net_file.h"

#include <fmt/format.h>

#include <chrono>

#include "base/elapsed.h"
#include "base/mapped_file.h"
#include "base/output_file.h"
#include "net/onnx/onnx_export.h"
#include "net/onnx/onnx_net.h"
#include "net/simplify.h"
#include "nibble/error.h"
#include "pipeline/net/net_samples.h"

namespace nibble {
namespace {

constexpr std::string_view kProducer = "nibble";

// The file's bytes are a net that makes what was judged, but for the order of sums: where that takes a value to the
// other side of a half, what follows is rounded anew, and two such runs are as far from each other as from what is not
// rounded.
void verify(const std::string& bytes, const std::filesystem::path& path, const NetQuantization& made,
            const NetSample& sample, Machine& machine) {
  const Net again = read_onnx_net(std::as_bytes(std::span(bytes)), path, {});
  const std::vector<NetSample> was = walk_samples(made.net, {&sample, 1}, machine, {}),
                               is = walk_samples(again, {&sample, 1}, machine, {});
  for (std::size_t i = 0; i < was[0].size(); ++i) {
    const double noise = noise_of({is[0][i]}, {was[0][i]});
    constexpr double kRounding = 1e-4;
    if (noise > kRounding + 2 * made.made.worst)
      throw Error(ErrorKind::internal,
                  fmt::format("{}: read back, it makes something else than what was judged: {}", path.string(), noise));
  }
}

// An earlier output may be replaced, and nothing else.
void require_replaceable(const std::filesystem::path& output) {
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(output, ignored) || std::filesystem::file_size(output, ignored) == 0) return;
  bool is_own = false;
  try {
    const MappedFile file(output);
    is_own = parse_onnx(file.bytes(), output.string()).producer == kProducer;
  } catch (const Error&) {  // no net at all
  }
  if (!is_own)
    throw Error(ErrorKind::io,
                output.string() + ": exists and was not written by nibble; choose another output or remove it");
}

}  // namespace

NetFileSummary quantize_net_file(const std::filesystem::path& path, NetOptions options, const NetFileRequest& request,
                                 Machine& machine) {
  const auto start = std::chrono::steady_clock::now();
  if (!request.output.empty() && lower_extension(request.output) != ".onnx")
    throw Error(ErrorKind::invalid_argument,
                fmt::format("a quantized net is written as .onnx: {}", request.output.string()));
  if (!request.output.empty()) require_replaceable(request.output);
  options.simplifies = false;
  Net net = open_net(path, options);
  NetFileSummary summary;
  std::vector<NetSample> samples;
  if (request.samples.empty())
    samples =
        make_samples(net, std::min<std::size_t>(request.most_samples, 32), request.seed, machine, summary.made_samples);
  else
    samples = read_samples(net, request.samples, request.most_samples);
  simplify(net);
  for (const auto& [part, numbers] : net.weights) summary.parameters += numbers.size();
  summary.quantization = quantize_net(net, samples, request.quantize, machine);
  OnnxModel model = spell_onnx(summary.quantization.net, summary.quantization.codes);
  model.producer = kProducer;
  summary.opset = model.opset;
  const std::string bytes = serialize_onnx(model);
  verify(bytes, request.output.empty() ? path : request.output, summary.quantization, samples.front(), machine);
  summary.source_bytes = std::filesystem::file_size(path);
  summary.bytes = bytes.size();
  if (!request.output.empty()) {
    OutputFile file(request.output);
    file.write(bytes);
    file.commit();
  }
  summary.seconds = seconds_since(start);
  return summary;
}

}  // namespace nibble
