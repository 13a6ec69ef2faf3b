// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <map>

#include "io/tflite/tflite_codes.h"
#include "io/tflite/tflite_model.h"
#include "tflite_generated.h"

namespace nibble {
namespace {

using flatbuffers::FlatBufferBuilder;
using flatbuffers::Offset;

constexpr std::uint32_t kSchemaVersion = 3;
constexpr std::size_t kAlignment = 16;  // of numbers, which runtimes map
constexpr int kLastOldCode = 127;       // larger numbers stand in the newer field alone

struct Options {
  tflite::Options type = tflite::Options_NONE;
  Offset<void> table = 0;
};

std::int8_t padding_of(const TfliteOptions& o) { return o.pads ? 0 : 1; }
std::int8_t activation_of(const TfliteOptions& o) { return static_cast<std::int8_t>(o.activation); }
std::int32_t whole(std::uint64_t number) { return static_cast<std::int32_t>(number); }

Options options_of(FlatBufferBuilder& to, const TfliteModel& model, const TfliteOperator& op) {
  using namespace tflite_code;
  const TfliteOptions& o = op.options;
  const auto shape_of = [&](int tensor) {
    const auto& shape = model.tensors[static_cast<std::size_t>(tensor)].shape;
    return std::vector<std::int32_t>(shape.begin(), shape.end());
  };
  switch (op.code) {
    case kConvolution:
      return {tflite::Options_Convolution,
              tflite::CreateConvolution(to, padding_of(o), whole(o.stride_w), whole(o.stride_h), activation_of(o),
                                        whole(o.dilation_w), whole(o.dilation_h))
                  .Union()};
    case kDepthwiseConvolution: {
      const auto inputs = shape_of(op.inputs[0]), outputs = shape_of(op.outputs[0]);
      return {tflite::Options_DepthwiseConvolution,
              tflite::CreateDepthwiseConvolution(to, padding_of(o), whole(o.stride_w), whole(o.stride_h),
                                                 outputs.back() / std::max(1, inputs.back()), activation_of(o),
                                                 whole(o.dilation_w), whole(o.dilation_h))
                  .Union()};
    }
    case kAveragePool:
    case kMaxPool:
      return {tflite::Options_Pooling, tflite::CreatePooling(to, padding_of(o), whole(o.stride_w), whole(o.stride_h),
                                                             whole(o.filter_w), whole(o.filter_h), activation_of(o))
                                           .Union()};
    case kFullyConnected:
      return {tflite::Options_FullyConnected,
              tflite::CreateFullyConnected(to, activation_of(o), 0, o.keeps_dimensions).Union()};
    case kSoftmax:
      return {tflite::Options_Softmax, tflite::CreateSoftmax(to, o.beta).Union()};
    case kConcatenation:
      return {tflite::Options_Concatenation,
              tflite::CreateConcatenation(to, static_cast<std::int32_t>(o.axis), activation_of(o)).Union()};
    case kAdd:
      return {tflite::Options_Sum, tflite::CreateSum(to, activation_of(o)).Union()};
    case kMultiply:
      return {tflite::Options_Product, tflite::CreateSum(to, activation_of(o)).Union()};
    case kSubtract:
      return {tflite::Options_Difference, tflite::CreateSum(to, activation_of(o)).Union()};
    case kDivide:
      return {tflite::Options_Quotient, tflite::CreateSum(to, activation_of(o)).Union()};
    case kReshape:
      return {tflite::Options_Reshape, tflite::CreateReshapeDirect(to, nullptr).Union()};
    case kMean:
    case kSum:
    case kReduceMax:
    case kReduceMin:
    case kReduceProduct:
      return {tflite::Options_Reduction, tflite::CreateReduction(to, o.keeps_dimensions).Union()};
    case kResizeBilinear:
      return {tflite::Options_Resizing,
              tflite::CreateResizing(to, 0, 0, o.aligns_corners, o.centres_half_pixels).Union()};
    case kResizeNearest:
      return {tflite::Options_NearestResizing,
              tflite::CreateNearestResizing(to, o.aligns_corners, o.centres_half_pixels).Union()};
    case kGather:
      return {tflite::Options_Gathering, tflite::CreateGathering(to, static_cast<std::int32_t>(o.axis)).Union()};
    case kStridedSlice:
      return {tflite::Options_StridedSlice, tflite::CreateStridedSlice(to, static_cast<std::int32_t>(o.begin_mask),
                                                                       static_cast<std::int32_t>(o.end_mask))
                                                .Union()};
    case kTransposeConvolution:
      return {tflite::Options_TransposedConvolution,
              tflite::CreateTransposedConvolution(to, padding_of(o), whole(o.stride_w), whole(o.stride_h)).Union()};
    case kLeakyRelu:
      return {tflite::Options_LeakyRelu, tflite::CreateLeakyRelu(to, o.alpha).Union()};
    case kMirrorPad:
      return {tflite::Options_Mirror, tflite::CreateMirror(to, o.repeats_edge ? 1 : 0).Union()};
    case kBatchMatmul:
      return {tflite::Options_MatrixProduct, tflite::CreateMatrixProduct(to, o.turns_x, o.turns_y).Union()};
    case kGelu:
      return {tflite::Options_Gelu, tflite::CreateGelu(to, o.is_approximate).Union()};
    case kCast: {
      const auto type = [&](int tensor) {
        return static_cast<std::int8_t>(model.tensors[static_cast<std::size_t>(tensor)].type);
      };
      return {tflite::Options_Conversion,
              tflite::CreateConversion(to, type(op.inputs[0]), type(op.outputs[0])).Union()};
    }
    default:
      return {};
  }
}

Offset<tflite::Tensor> write_tensor(FlatBufferBuilder& to, const TfliteTensor& tensor, std::uint32_t buffer) {
  const std::vector<std::int32_t> shape(tensor.shape.begin(), tensor.shape.end());
  Offset<tflite::Quantization> codes = 0;
  if (!tensor.scales.empty())
    codes = tflite::CreateQuantizationDirect(to, nullptr, nullptr, &tensor.scales, &tensor.zeros, 0, 0,
                                             static_cast<std::int32_t>(tensor.dimension));
  return tflite::CreateTensorDirect(to, &shape, static_cast<std::int8_t>(tensor.type), buffer, tensor.name.c_str(),
                                    codes);
}

}  // namespace

std::string serialize_tflite(const TfliteModel& model) {
  FlatBufferBuilder to;
  // The first buffer is that of values which are made when the net runs.
  std::vector<Offset<tflite::Buffer>> buffers = {tflite::CreateBuffer(to)};
  std::vector<Offset<tflite::Tensor>> tensors;
  for (const TfliteTensor& tensor : model.tensors) {
    std::uint32_t buffer = 0;
    if (!tensor.bytes.empty()) {
      to.ForceVectorAlignment(tensor.bytes.size(), 1, kAlignment);
      const auto data =
          to.CreateVector(reinterpret_cast<const std::uint8_t*>(tensor.bytes.data()), tensor.bytes.size());
      buffer = static_cast<std::uint32_t>(buffers.size());
      buffers.push_back(tflite::CreateBuffer(to, data));
    }
    tensors.push_back(write_tensor(to, tensor, buffer));
  }
  std::map<std::pair<int, int>, std::uint32_t> places;  // of kinds of operators, by code and version
  std::vector<Offset<tflite::OperatorCode>> codes;
  std::vector<Offset<tflite::Operator>> operators;
  for (const TfliteOperator& op : model.operators) {
    const int version = version_of(model, op);
    const auto [place, is_new] = places.emplace(std::pair(op.code, version), static_cast<std::uint32_t>(codes.size()));
    if (is_new)
      codes.push_back(tflite::CreateOperatorCodeDirect(to, static_cast<std::int8_t>(std::min(op.code, kLastOldCode)),
                                                       nullptr, version, op.code));
    const Options options = options_of(to, model, op);
    operators.push_back(
        tflite::CreateOperatorDirect(to, place->second, &op.inputs, &op.outputs, options.type, options.table));
  }
  const auto graph = tflite::CreateSubGraphDirect(to, &tensors, &model.inputs, &model.outputs, &operators, "main");
  const std::vector<Offset<tflite::SubGraph>> graphs = {graph};
  tflite::FinishModelBuffer(
      to, tflite::CreateModelDirect(to, kSchemaVersion, &codes, &graphs, model.description.c_str(), &buffers));
  return {reinterpret_cast<const char*>(to.GetBufferPointer()), to.GetSize()};
}

}  // namespace nibble
