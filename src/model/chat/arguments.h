// SPDX-License-Identifier: Apache-2.0
//
// What a function, filter or method was called with, by the names of its parameters. One thread.
//
//   const Bound bound(arguments, "indent", {"width", "first"});
//   const std::int64_t width = bound.whole(0, 4);
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/chat/objects.h"

namespace nibble::chat {

class Bound {
 public:
  // Fault(value) for a value too many, a name that is no parameter, and one of the first `required` that is missing.
  Bound(const Arguments& arguments, std::string_view callee, std::initializer_list<std::string_view> names,
        std::size_t required = 0);

  const Value* get(std::size_t i) const { return values_[i]; }  // null: not given
  bool is_given(std::size_t i) const { return values_[i] && !values_[i]->is_none(); }
  // These throw Fault(value) where a value has another type. None counts as not given.
  std::int64_t whole(std::size_t i, std::int64_t otherwise) const;
  bool truth(std::size_t i, bool otherwise) const;
  std::string_view text(std::size_t i, std::string_view otherwise) const;  // lies in the arguments or in `otherwise`

 private:
  [[noreturn]] void fail_type(std::size_t i, std::string_view wanted) const;
  std::string callee_;
  std::vector<std::string_view> names_;
  std::vector<const Value*> values_;
};

// The steps of who reads all texts among the arguments.
void pay_for_texts(Rendering& rendering, const Arguments& arguments);

}  // namespace nibble::chat
