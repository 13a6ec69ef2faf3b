// SPDX-License-Identifier: Apache-2.0
//
// What a writer of nets has no words for, gathered until all of it is known. Plain values.
//
//   RefusedNodes refused;
//   refused.add("lstm: this operation", "encoder/h");
//   if (!refused.empty()) throw Error(ErrorKind::unsupported, "... has no operators for " + refused.text());
#pragma once

#include <map>
#include <string>
#include <vector>

namespace nibble {

class RefusedNodes {
 public:
  void add(const std::string& what, const std::string& name) { names_[what].push_back(name); }
  bool empty() const { return names_.empty(); }
  // "what (name, name and 3 more); what (name)"
  std::string text() const;

 private:
  std::map<std::string, std::vector<std::string>> names_;
};

}  // namespace nibble
