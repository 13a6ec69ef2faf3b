// SPDX-License-Identifier: Apache-2.0
//
// The interface as OpenAPI 3.1 tells it: docs/openapi.json, as it was when nibble was built.
#pragma once

#include <span>

#include "base/embedded_text.h"

namespace nibble::serve {

std::span<const EmbeddedText> openapi_files();  // one

}  // namespace nibble::serve
