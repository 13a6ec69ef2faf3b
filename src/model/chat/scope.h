// SPDX-License-Identifier: Apache-2.0
//
// Names and values of one frame: a loop's iteration, a macro's call, the template itself. What is looked up here and
// not found is looked up where the frame was written. One thread.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/chat/value.h"

namespace nibble::chat {

class Scope {
 public:
  explicit Scope(std::shared_ptr<const Scope> outer = nullptr) : outer_(std::move(outer)) {}

  void set(std::string_view name, Value value) { slot(name) = std::move(value); }
  // Undefined from here on, whatever is outside.
  void mask(const std::vector<std::string>& names) {
    for (const std::string& name : names) slot(name) = std::nullopt;
  }
  // Null: nobody has the name. No value: it is masked.
  const std::optional<Value>* find(std::string_view name) const {
    if (const auto place = entries_.find(name); place != entries_.end()) return &place->second;
    return outer_ ? outer_->find(name) : nullptr;
  }

 private:
  std::optional<Value>& slot(std::string_view name) { return entries_[name]; }

  std::shared_ptr<const Scope> outer_;
  std::map<std::string_view, std::optional<Value>> entries_;  // names lie in the program
};

}  // namespace nibble::chat
