// SPDX-License-Identifier: Apache-2.0
#include "graph/operation.h"

#include <fmt/format.h>

#include "nibble/error.h"

namespace nibble {

void require_drawable(bool condition, std::string_view operation, std::string_view what) {
  if (!condition) throw Error(ErrorKind::internal, fmt::format("a drawing does not fit together: {}: {}", operation, what));
}

}  // namespace nibble
