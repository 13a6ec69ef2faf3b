// SPDX-License-Identifier: Apache-2.0
//
// The spans of a matrix's rows, each with a grid of its own, one after the other: rows are cut by grain, so that
// results are the same bits for any number of threads.
//
//   each_row_span(spans, pool, [] { return std::vector<float>(64); }, [&](const RowSpan& at, std::vector<float>& room)
//   {
//     ...
//   });
#pragma once

#include <algorithm>
#include <cstddef>

#include "base/thread_pool.h"

namespace nibble {

struct RowSpan {
  std::size_t row = 0, index = 0, begin = 0, columns = 0;  // index: in its row; begin: its first column
};

struct RowSpans {
  std::size_t rows = 0, cols = 0, span = 1;  // span: columns of one; the last of a row may have fewer
  std::size_t per_row() const { return (cols + span - 1) / span; }
};

// make_scratch: gives what `body` works with beside the span, of a thread's own. body sees the spans of a row in order.
template <class MakeScratch, class Body>
void each_row_span(const RowSpans& spans, ThreadPool& pool, MakeScratch make_scratch, Body body) {
  const std::size_t grain = std::max<std::size_t>(1, 16384 / std::max<std::size_t>(1, spans.cols));
  pool.parallel_for(spans.rows, grain, [&](std::size_t first, std::size_t last, std::size_t) {
    auto scratch = make_scratch();
    for (RowSpan at{.row = first}; at.row < last; ++at.row)
      for (at.index = 0; at.index < spans.per_row(); ++at.index) {
        at.begin = at.index * spans.span;
        at.columns = std::min(spans.span, spans.cols - at.begin);
        body(at, scratch);
      }
  });
}

}  // namespace nibble
