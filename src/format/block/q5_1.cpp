// SPDX-License-Identifier: Apache-2.0
#include "format/block/q5_1.h"

namespace nibble {

FormatPtr make_q5_1() { return std::make_shared<BlockFormat<Q5_1>>(); }

}  // namespace nibble
