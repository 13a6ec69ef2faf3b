// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>

#include "net/onnx/node_view.h"

namespace nibble {

// a [..., inner] times b [inner, cols], a constant, plus a constant bias [cols].
NetValue linear_term(NodeView& n, const NetValue& a, const NetValue& b, const std::string& part,
                     const std::optional<NetValue>& bias);

}  // namespace nibble
