// SPDX-License-Identifier: Apache-2.0
#include "format/block/q4_1.h"

namespace nibble {

FormatPtr make_q4_1() { return std::make_shared<BlockFormat<Q4_1>>(); }

}  // namespace nibble
