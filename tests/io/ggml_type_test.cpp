// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>

#include "format/format.h"
#include "io/gguf/ggml_type.h"

namespace nibble {
namespace {

TEST(GgmlType, FindsEveryIdAndNoOther) {
  for (const GgmlType& type : list_ggml_types()) EXPECT_EQ(find_ggml_type(type.id), &type);
  for (const std::uint32_t id : {4u, 5u, 31u, 32u, 33u, 36u, 37u, 38u}) {
    EXPECT_EQ(find_ggml_type(id), nullptr) << id;
    EXPECT_TRUE(is_removed_ggml_type(id)) << id;
  }
  for (const std::uint32_t id : {43u, 255u, ~0u}) {
    EXPECT_EQ(find_ggml_type(id), nullptr) << id;
    EXPECT_FALSE(is_removed_ggml_type(id)) << id;
  }
  EXPECT_EQ(list_ggml_types().size(), 35u);
}

// This table and the list of formats are two sources: they must agree on every type that both know.
TEST(GgmlType, AgreesWithTheListOfFormats) {
  std::size_t compared = 0;
  for (const FormatPtr& format : list_formats()) {
    if (!format->info().ggml_type) continue;
    const GgmlType* type = find_ggml_type(*format->info().ggml_type);
    ASSERT_NE(type, nullptr) << format->name();
    std::string name(type->name);
    std::ranges::transform(name, name.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    EXPECT_EQ(name, format->name());
    EXPECT_EQ(type->block_elements, format->info().row_multiple) << name;
    const auto planes = format->planes(3, type->block_elements * 2);
    ASSERT_EQ(planes.size(), 1u) << name;
    EXPECT_EQ(planes[0].bytes, std::uint64_t{type->block_bytes} * 2 * 3) << name;
    EXPECT_EQ(find_ggml_format(type->id)->name(), format->name());
    ++compared;
  }
  EXPECT_GE(compared, 4u);
}

}  // namespace
}  // namespace nibble
