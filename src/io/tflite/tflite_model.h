// SPDX-License-Identifier: Apache-2.0
//
// A TensorFlow Lite model as plain data: tensors, operators in order. What the format's own tables say and nobody here
// asks for is left out. Whether files can be read and written is decided when nibble is built, by whether FlatBuffers
// are there.
//
//   const TfliteModel model = parse_tflite(file.bytes(), "kws.tflite");
//   const std::string bytes = serialize_tflite(model);
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace nibble {

enum class TfliteType : int { f32 = 0, f16 = 1, i32 = 2, u8 = 3, i64 = 4, truth = 6, i16 = 7, i8 = 9 };

struct TfliteTensor {
  std::string name;
  TfliteType type = TfliteType::f32;
  std::vector<std::uint64_t> shape;
  std::span<const std::byte> bytes;  // of the file, or of TfliteModel::kept; empty: it is made when the net runs
  // Of codes: one scale, or one for each place along `dimension`.
  std::vector<float> scales;
  std::vector<std::int64_t> zeros;
  std::uint64_t dimension = 0;
};

enum class TfliteActivation : int { none = 0, relu = 1, relu_n1_to_1 = 2, relu6 = 3, tanh = 4 };

// What operators say of themselves, as far as one has it.
struct TfliteOptions {
  bool pads = true;  // "same": as many places as strides fit in; else "valid": none outside
  std::uint64_t stride_w = 1, stride_h = 1, dilation_w = 1, dilation_h = 1, filter_w = 1, filter_h = 1;
  TfliteActivation activation = TfliteActivation::none;
  float beta = 1;
  float alpha = 0;  // of leaky_relu
  std::int64_t axis = 0;
  bool keeps_dimensions = false;
  bool is_shuffled = false;  // weights in another order
  bool aligns_corners = false, centres_half_pixels = false;
  bool repeats_edge = false;                                    // of mirrored pads: the last number, too
  bool turns_x = false, turns_y = false;                        // of products of two values: their last two dimensions
  bool is_approximate = false;                                  // of gelu: by tanh
  std::uint32_t begin_mask = 0, end_mask = 0, other_masks = 0;  // of strided slices
};

struct TfliteOperator {
  int code = 0;                      // BuiltinOperator
  std::string custom_name;           // of code 32
  std::vector<int> inputs, outputs;  // tensors; -1: left out
  TfliteOptions options;
};

struct TfliteModel {
  std::string description;
  std::vector<TfliteTensor> tensors;
  std::vector<TfliteOperator> operators;
  std::vector<int> inputs, outputs;
  std::vector<std::shared_ptr<const std::string>> kept;  // numbers of tensors that no file has
};

bool has_tflite() noexcept;
inline constexpr std::string_view kTfliteMissing =
    "this nibble was built without TensorFlow Lite; build it where FlatBuffers are installed (Debian: "
    "libflatbuffers-dev, flatbuffers-compiler)";

// The bytes must outlive the model. source: the file's name in messages. Error(corrupt): damage; Error(unsupported): a
// model of several graphs, built without FlatBuffers.
TfliteModel parse_tflite(std::span<const std::byte> bytes, const std::string& source);

// The least version of an operator that takes its tensors, by which runtimes know whether they are new enough.
int version_of(const TfliteModel& model, const TfliteOperator& op);

// A file's bytes, the same ones for the same model. Error(unsupported): built without FlatBuffers.
std::string serialize_tflite(const TfliteModel& model);

}  // namespace nibble
