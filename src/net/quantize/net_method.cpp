// SPDX-License-Identifier: Apache-2.0
#include "net/quantize/net_method.h"

#include <algorithm>
#include <array>

#include "nibble/error.h"

namespace nibble {
namespace {

constexpr std::string_view kLearning = "adaround";
constexpr std::array<std::string_view, 6> kNames = {"rtn", "mse", "imatrix", "gptq", "descent", kLearning};

}  // namespace

NetMethod find_net_method(std::string_view name, unsigned bits) {
  if (std::ranges::find(kNames, name) == kNames.end())
    throw Error(ErrorKind::invalid_argument,
                "weights of nets are rounded by " + net_method_names() + ": " + std::string(name));
  const bool learns = name == kLearning;
  return {find_method(learns ? default_net_method(bits) : name), learns};
}

std::string net_method_names() {
  std::string names;
  for (const std::string_view name : kNames) names += (names.empty() ? "" : ", ") + std::string(name);
  return names;
}

bool is_of_nets_alone(std::string_view name) { return name == kLearning; }

std::string_view default_net_method(unsigned bits) { return bits < 8 ? "descent" : "rtn"; }

}  // namespace nibble
