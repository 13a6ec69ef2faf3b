// SPDX-License-Identifier: Apache-2.0
//
// Public numbers of TensorFlow Lite's operators, of those that are read or written here.
#pragma once

#include <string_view>

namespace nibble::tflite_code {

inline constexpr int kAdd = 0, kAveragePool = 1, kConcatenation = 2, kConvolution = 3, kDepthwiseConvolution = 4,
                     kDequantize = 6, kFloor = 8, kFullyConnected = 9, kLogistic = 14, kMaxPool = 17, kMultiply = 18,
                     kRelu = 19, kReluN1To1 = 20, kRelu6 = 21, kReshape = 22, kResizeBilinear = 23, kSoftmax = 25,
                     kTanh = 28, kPad = 34, kGather = 36, kTranspose = 39, kMean = 40, kSubtract = 41, kDivide = 42,
                     kSqueeze = 43, kStridedSlice = 45, kExp = 47, kCast = 53, kPrelu = 54, kMaximum = 55,
                     kMinimum = 57, kNegative = 59, kPadV2 = 60, kSin = 66, kTransposeConvolution = 67, kLog = 73,
                     kSum = 74, kSqrt = 75, kRsqrt = 76, kPower = 78, kReduceProduct = 81, kReduceMax = 82,
                     kReduceMin = 89, kResizeNearest = 97, kLeakyRelu = 98, kMirrorPad = 100, kAbs = 101, kCeil = 104,
                     kCos = 108, kElu = 111, kQuantize = 114, kRound = 116, kHardSwish = 117, kBatchMatmul = 126,
                     kBroadcastTo = 130, kGelu = 150;

}  // namespace nibble::tflite_code
