// SPDX-License-Identifier: Apache-2.0
//
// What a net is written as: which files, and that they say what was meant.
//
//   const std::vector<NetOutput> outputs = arrange_net_outputs({"onnx", "tflite"}, "net8");   // net8.onnx, net8.tflite
//   for (const NetOutput& output : outputs) require_writable(net, output);
//   const WrittenNet made = spell_net(net, codes, outputs[0]);
//   commit(made);
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "io/tflite/tflite_model.h"
#include "kernels/machine.h"
#include "net/net.h"
#include "net/onnx/onnx_export.h"
#include "net/quantize/sample_walk.h"
#include "net/weight_codes.h"

namespace nibble {

enum class NetContainer { onnx, tflite, c };

struct NetOutput {
  NetContainer container = NetContainer::onnx;
  std::filesystem::path path;          // empty: nothing is written
  FewBits few_bits = FewBits::packed;  // of ONNX
  // What lies at the path and, of C, its header beside it.
  std::vector<std::filesystem::path> files() const;
};

std::string_view net_container_name(NetContainer container);
std::string net_container_names();  // of all, with commas

// names: as --to gives them; none: what the output's ending says. One is written as `output`; several as files of that
// name with their own endings. Error(invalid_argument): names or endings that are none.
std::vector<NetOutput> arrange_net_outputs(std::span<const std::string> names, const std::filesystem::path& output);

// Before work is done for an output. Error(unsupported): operations that it has no words for; Error(io): a file in its
// place that nibble has not written.
void require_writable(const Net& net, const NetOutput& output);
void require_replaceable(const NetOutput& output);  // the second of these alone

struct WrittenNet {
  NetOutput output;
  std::vector<std::pair<std::filesystem::path, std::string>> files;  // with their bytes
  std::int64_t opset = 0;                                            // of ONNX
  TfliteModel drawn;                                                 // of C: what its functions compute, ports in f32
  std::uint64_t constant_bytes = 0;                                  // of C
  // Of the files; of C, which is text, those of its constants.
  std::uint64_t bytes() const;
};

WrittenNet spell_net(const Net& net, const NetCodes& codes, const NetOutput& output);
// A TensorFlow Lite file in C as it stands.
WrittenNet spell_lite_in_c(const std::filesystem::path& path, const NetOutput& output);
// What its files say, read again.
Net read_back(const WrittenNet& made);

// Error(internal): read back, an output has more noise on the sample than allowed, as a share of its power.
void require_same_when_read(const WrittenNet& made, const Net& meant, const NetSample& sample, double allowed,
                            Machine& machine);
// Puts the files in their places.
void commit(const WrittenNet& made);

}  // namespace nibble
