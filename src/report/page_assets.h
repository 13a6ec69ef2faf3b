// SPDX-License-Identifier: Apache-2.0
//
// The parts of the HTML page that are files of their own: those of src/report/page/ and Chart.js.
#pragma once

#include <span>

#include "base/embedded_text.h"

namespace nibble {

std::span<const EmbeddedText> page_assets();

}  // namespace nibble
