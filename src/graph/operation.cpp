// SPDX-License-Identifier: Apache-2.0
#include "graph/operation.h"

#include <fmt/format.h>

#include "nibble/error.h"

namespace nibble {

std::uint64_t numbers_per_token(const Dimensions& dimensions) {
  std::uint64_t numbers = 1;
  for (const Dimension& dimension : dimensions)
    if (dimension.axis != Axis::token && dimension.axis != Axis::batch) numbers *= dimension.extent;
  return numbers;
}

std::string expert_part(std::string_view part, std::uint64_t expert) {
  constexpr std::string_view kBias = ".bias";
  const std::string_view ending = part.ends_with(kBias) ? kBias : std::string_view{};
  part.remove_suffix(ending.size());
  return std::string(part) + '.' + std::to_string(expert) + std::string(ending);
}

void require_drawable(bool condition, std::string_view operation, std::string_view what) {
  if (!condition) throw Error(ErrorKind::internal, fmt::format("{}{}: {}", kNotDrawable, operation, what));
}

void refuse_gradient(std::string_view operation) {
  throw Error(ErrorKind::unsupported, fmt::format("this operation is not trained yet: {}", operation));
}

}  // namespace nibble
