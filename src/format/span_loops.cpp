// SPDX-License-Identifier: Apache-2.0
#include "format/span_loops.h"

#include "format/span_lanes.h"

namespace nibble {

const SpanLoops& plain_span_loops() { return kSpanLoops; }

}  // namespace nibble
