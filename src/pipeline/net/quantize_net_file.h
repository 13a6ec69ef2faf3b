// SPDX-License-Identifier: Apache-2.0
//
// A net's file in, a quantized one out: what is written is read again and judged before it takes its place.
//
//   NetFileRequest request{.samples = {"samples.npy"}, .outputs = arrange_net_outputs({}, "net8.tflite")};
//   const NetFileSummary made = quantize_net_file("net.onnx", {}, request, machine);
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "net/quantize/quantize_net.h"
#include "pipeline/net/net_output.h"

namespace nibble {

struct NetFileRequest {
  NetQuantizeOptions quantize = {};
  std::vector<std::string> samples = {};  // places (pipeline/net/net_samples.h); none: they are made
  std::size_t most_samples = 128;
  std::uint64_t seed = 1;
  std::vector<NetOutput> outputs = {{}};  // of one quantization
};

struct NetFileSummary {
  NetQuantization quantization;
  struct File {
    NetOutput output;
    std::uint64_t bytes = 0;
    std::int64_t opset = 0;  // of ONNX
  };
  std::vector<File> files;
  std::uint64_t source_bytes = 0, parameters = 0;
  std::string made_samples;  // which numbers stood for samples; empty: samples were given
  double seconds = 0;
};

// Where TensorFlow Lite is among the outputs, what is rounded is what it computes in codes. Errors as of open_net,
// read_samples, require_writable and quantize_net; Error(invalid_argument): outputs for which nothing can be rounded
// alike.
NetFileSummary quantize_net_file(const std::filesystem::path& path, NetOptions options, const NetFileRequest& request,
                                 Machine& machine);

}  // namespace nibble
