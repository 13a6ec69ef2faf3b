// SPDX-License-Identifier: Apache-2.0
//
// Encodes a band of rows of one tensor: read from whatever format the source has, judged, rounded by a method, packed. The same bytes for
// any number of threads.
//
//   QuantizedTensor band = quantize_rows({.view = &tensor.view, .name = tensor.name}, 0, 512, find_format("q4_k"), {method}, pool);
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "base/cpu.h"
#include "base/thread_pool.h"
#include "format/quantized_tensor.h"
#include "quantize/method.h"

namespace nibble {

struct RowSource {
  const QuantizedView* view = nullptr;
  std::string name{}, file{};  // for messages
  // Output row r is the source's row order(r); null: the same.
  std::uint64_t (*order)(std::uint64_t row, std::uint64_t argument) = nullptr;
  std::uint64_t order_argument = 0;
};

struct QuantizeRowsOptions {
  const Method* method = nullptr;                   // required for block and planar targets
  std::span<const float> importance{};              // [cols] or empty
  std::shared_ptr<const TensorGrid> tensor_grid{};  // from prepare_tensor
  Isa isa = Isa::scalar;                            // whose row loops to use; the same bytes with any
};

// What the format must know of the whole tensor before rows are encoded; null for most formats. Decodes the whole tensor when the format
// asks for it.
std::shared_ptr<const TensorGrid> prepare_tensor(const RowSource& source, const FormatPtr& format, const QuantizeRowsOptions& options,
                                                 ThreadPool& pool);

// Rows [begin, end) of the output, encoded. Error(corrupt) names file, tensor, row and column of a weight that is NaN or infinite (the
// first in output order), Error(unsupported) one that f16 cannot hold. Rows already in the target format are copied byte for byte.
QuantizedTensor quantize_rows(const RowSource& source, std::uint64_t begin, std::uint64_t end, const FormatPtr& format,
                              const QuantizeRowsOptions& options, ThreadPool& pool);

}  // namespace nibble
