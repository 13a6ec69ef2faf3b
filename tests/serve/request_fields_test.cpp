// SPDX-License-Identifier: Apache-2.0
#include "serve/api/request_fields.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace nibble::serve {
namespace {

// Colons in texts are none of its members.
std::string object(int members) {
  std::string text = R"({"a": "\\\":\\")";
  for (int i = 1; i < members; ++i) text += fmt::format(",\"{}\":0", i);
  return text + "}";
}

std::string fault_of(const std::string& body) {
  try {
    parse_body(body);
  } catch (const ApiError& error) {
    EXPECT_EQ(error.status(), 400);
    return error.what();
  }
  return {};
}

TEST(RequestFields, ABodyHasNoMoreMembersThanItsReadingIsWorth) {
  EXPECT_EQ(fault_of(object(1024)), "");
  EXPECT_NE(fault_of(object(1025)).find("more than 1024 keys"), std::string::npos);
  EXPECT_NE(fault_of("{\"x\":[1," + object(1025) + "]}").find("more than 1024 keys"), std::string::npos);
  std::string many = "{\"x\":[" + object(535);  // 65,536 with x
  for (int i = 0; i < 65; ++i) many += "," + object(1000);
  EXPECT_EQ(fault_of(many + "]}"), "");
  EXPECT_NE(fault_of(many + ",{\"y\":0}]}").find("65536"), std::string::npos);
}

}  // namespace
}  // namespace nibble::serve
