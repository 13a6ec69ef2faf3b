// SPDX-License-Identifier: Apache-2.0
#include "format/block/q4_0.h"

namespace nibble {

FormatPtr make_q4_0() { return std::make_shared<LoopedBlockFormat<Q4_0>>(); }

}  // namespace nibble
