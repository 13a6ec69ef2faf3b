// SPDX-License-Identifier: Apache-2.0
//
// How the codes of a net's weights are chosen: methods of matrices that suit rows of any length, and what is learned
// from there. The list is plain; help and messages follow from it.
//
//   const NetMethod method = find_net_method("adaround", 4);
#pragma once

#include <string>
#include <string_view>

#include "quantize/method.h"

namespace nibble {

struct NetMethod {
  Method base;
  bool learns = false;  // codes, from where base has put them (net/quantize/adaptive_rounding.h)
};

// Of weights of so many bits. Error(invalid_argument) lists the known names.
NetMethod find_net_method(std::string_view name, unsigned bits);
std::string net_method_names();  // "rtn, mse, ..."
// Whether matrices of language models are not rounded by it.
bool is_of_nets_alone(std::string_view name);
// What is taken where none is named: of few bits what looks at the inputs; 8 have little to gain.
std::string_view default_net_method(unsigned bits);

}  // namespace nibble
