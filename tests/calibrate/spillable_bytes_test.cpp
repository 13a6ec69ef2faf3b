// SPDX-License-Identifier: Apache-2.0
#include "calibrate/spillable_bytes.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <utility>

#include "base/scratch_directory.h"
#include "nibble/error.h"

namespace nibble {
namespace {

constexpr std::size_t kSize = 100'003;

TEST(SpillableBytes, KeepsWhatWasWrittenInEitherPlaceAndLeavesNothingBehind) {
  ScratchDirectory scratch;
  for (const std::filesystem::path& directory : {std::filesystem::path(), scratch.path()}) {
    SpillableBytes bytes(kSize, directory);
    EXPECT_EQ(bytes.size(), kSize);
    unsigned char* const data = bytes.as<unsigned char>();
    EXPECT_TRUE(std::all_of(data, data + kSize, [](unsigned char byte) { return byte == 0; }));
    for (std::size_t i = 0; i < kSize; ++i) data[i] = static_cast<unsigned char>(i % 251);
    bytes.release(0, kSize);
    bytes.release(5, 10);  // less than a page
    const SpillableBytes moved = std::move(bytes);
    for (std::size_t i = 0; i < kSize; ++i) ASSERT_EQ(*moved.as<unsigned char>(i), i % 251) << i;
    EXPECT_EQ(scratch.num_entries(), 0u);
  }
  EXPECT_EQ(SpillableBytes(0, scratch.path()).size(), 0u);
}

TEST(SpillableBytes, NamesTheDirectoryThatIsFullOrMissing) {
  ScratchDirectory scratch;
  const auto error_in = [](std::size_t size, const std::filesystem::path& directory, ErrorKind kind) {
    try {
      SpillableBytes bytes(size, directory);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), kind) << error.what();
      return std::string(error.what());
    }
    return std::string("no error");
  };
  constexpr std::size_t kTooMuch = std::size_t{1} << 60;
  const std::string full = error_in(kTooMuch, scratch.path(), ErrorKind::resource);
  EXPECT_NE(full.find(scratch.path().string()), std::string::npos) << full;
  EXPECT_NE(full.find(std::to_string(kTooMuch)), std::string::npos) << full;
  EXPECT_EQ(scratch.num_entries(), 0u);
  const std::string missing = error_in(kSize, scratch / "missing", ErrorKind::io);
  EXPECT_NE(missing.find((scratch / "missing").string()), std::string::npos) << missing;
}

}  // namespace
}  // namespace nibble
