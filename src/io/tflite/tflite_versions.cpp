// SPDX-License-Identifier: Apache-2.0
//
// Versions of operators as TensorFlow's converter counts them (lite/tools/versioning/op_version.cc): facts of the
// format.
#include <algorithm>

#include "io/tflite/tflite_codes.h"
#include "io/tflite/tflite_model.h"

namespace nibble {
namespace {

struct Signature {
  const TfliteModel& model;
  const TfliteOperator& op;

  const TfliteTensor* input(std::size_t i) const {
    return i < op.inputs.size() && op.inputs[i] >= 0 ? &model.tensors[static_cast<std::size_t>(op.inputs[i])] : nullptr;
  }
  bool is_coded(std::size_t i = 0) const { return input(i) != nullptr && input(i)->type == TfliteType::i8; }
  std::size_t rank() const {
    std::size_t most = 0;
    for (std::size_t i = 0; i < op.inputs.size(); ++i)
      if (input(i) != nullptr) most = std::max(most, input(i)->shape.size());
    return most;
  }
  bool is_repeated() const { return input(0) != nullptr && input(1) != nullptr && input(0)->shape != input(1)->shape; }
  bool has_large_ranks() const { return is_repeated() && rank() > 4; }
};

float scale_of(const TfliteTensor* tensor) {
  return tensor == nullptr || tensor->scales.size() != 1 ? 0 : tensor->scales[0];
}

int of_convolution(const Signature& s) {
  const TfliteTensor *const x = s.input(0), *const w = s.input(1);
  const bool has_groups =
      x != nullptr && w != nullptr && x->shape.size() == 4 && w->shape.size() == 4 && x->shape[3] != w->shape[3];
  return has_groups ? 6 : s.is_coded() ? 3 : 1;
}

int of_product(const Signature& s) {
  const float y =
      scale_of(s.op.outputs.empty() ? nullptr : &s.model.tensors[static_cast<std::size_t>(s.op.outputs[0])]);
  if (!s.is_coded()) return 1;
  return y > 0 && scale_of(s.input(0)) * scale_of(s.input(1)) / y >= 1 ? 3 : 2;
}

}  // namespace

int version_of(const TfliteModel& model, const TfliteOperator& op) {
  using namespace tflite_code;
  const Signature s{model, op};
  const int plain = s.is_coded() ? 2 : 1;
  switch (op.code) {
    case kConvolution:
      return of_convolution(s);
    case kDepthwiseConvolution:
      return s.is_coded() ? 3 : op.options.dilation_h != 1 || op.options.dilation_w != 1 ? 2 : 1;
    case kFullyConnected:
      return op.inputs.size() == 2 ? 6 : op.options.keeps_dimensions ? 5 : s.is_coded() ? 4 : 1;
    case kMultiply:
      return of_product(s);
    case kTranspose:
      return s.rank() > 5 ? 6 : s.rank() > 4 ? 4 : plain;
    case kTransposeConvolution:
      return op.inputs.size() > 3 ? 3 : s.is_coded(1) ? 2 : 1;
    case kDequantize: {
      const TfliteTensor* const x = s.input(0);
      if (x != nullptr && x->type == TfliteType::f16) return 3;
      return x != nullptr && x->scales.size() > 1 ? 5 : plain;
    }
    case kStridedSlice:
    case kPad:
    case kPadV2:
      return s.rank() > 4 ? 4 : plain;
    case kResizeBilinear:
    case kResizeNearest:
      return op.options.centres_half_pixels || (op.code == kResizeNearest && op.options.aligns_corners) ? 3 : plain;
    case kMaximum:
    case kMinimum:
    case kSubtract:
      return s.has_large_ranks() ? 3 : plain;
    case kDivide:
      return s.has_large_ranks() ? 2 : 1;
    case kBroadcastTo:
      return 2;
    case kAdd:
    case kAveragePool:
    case kMaxPool:
    case kConcatenation:
    case kLogistic:
    case kTanh:
    case kRelu:
    case kRelu6:
    case kSoftmax:
    case kMean:
    case kSum:
    case kReduceMax:
    case kReduceMin:
    case kReduceProduct:
    case kMirrorPad:
    case kGather:
    case kBatchMatmul:
      return plain;
    default:
      return 1;
  }
}

}  // namespace nibble
