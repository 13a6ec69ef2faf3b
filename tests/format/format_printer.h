// SPDX-License-Identifier: Apache-2.0
//
// How test output names a format.
#pragma once

#include <ostream>

#include "format/format.h"

namespace nibble {

inline void PrintTo(const FormatPtr& format, std::ostream* out) { *out << format->name(); }

}  // namespace nibble
