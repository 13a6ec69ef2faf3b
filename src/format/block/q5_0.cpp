// SPDX-License-Identifier: Apache-2.0
#include "format/block/q5_0.h"

namespace nibble {

FormatPtr make_q5_0() { return std::make_shared<LoopedBlockFormat<Q5_0>>(); }

}  // namespace nibble
