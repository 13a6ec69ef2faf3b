// SPDX-License-Identifier: Apache-2.0
//
// The kind of error that something ends in; a failure of the test where it ends in none.
//
//   EXPECT_EQ(kind_of([] { open_model("no/such/model"); }), ErrorKind::not_found);
#pragma once

#include <gtest/gtest.h>

#include "nibble/error.h"

namespace nibble {

template <typename Act>
ErrorKind kind_of(const Act& act) {
  try {
    act();
  } catch (const Error& error) {
    return error.kind();
  }
  ADD_FAILURE() << "no error";
  return ErrorKind::internal;
}

}  // namespace nibble
