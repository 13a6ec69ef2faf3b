// SPDX-License-Identifier: Apache-2.0
//
// A net's file in, a quantized one out: what is written is read again and judged before it takes its place.
//
//   const NetFileSummary made = quantize_net_file("net.onnx", {}, request, machine);
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "net/quantize/quantize_net.h"

namespace nibble {

struct NetFileRequest {
  NetQuantizeOptions quantize = {};
  std::vector<std::string> samples = {};  // places (pipeline/net/net_samples.h); none: they are made
  std::size_t most_samples = 128;
  std::uint64_t seed = 1;
  std::filesystem::path output = {};  // empty: nothing is written
};

struct NetFileSummary {
  NetQuantization quantization;
  std::uint64_t source_bytes = 0, bytes = 0, parameters = 0;
  std::int64_t opset = 0;
  std::string made_samples;  // which numbers stood for samples; empty: samples were given
  double seconds = 0;
};

// Error(invalid_argument): an output that is no .onnx. Otherwise as open_net, read_samples and quantize_net.
NetFileSummary quantize_net_file(const std::filesystem::path& path, NetOptions options, const NetFileRequest& request,
                                 Machine& machine);

}  // namespace nibble
