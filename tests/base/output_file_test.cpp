// SPDX-License-Identifier: Apache-2.0
#include "base/output_file.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <fstream>
#include <string>

#include "base/scratch_directory.h"
#include "nibble/error.h"

namespace nibble {
namespace {

TEST(OutputFile, AppearsOnlyWhenCommitted) {
  ScratchDirectory scratch;
  const auto path = scratch / "out.bin";
  {
    OutputFile out(path);
    out.write("hello ");
    out.write_at(8, std::as_bytes(std::span("xy", 2)));
    out.write("w");
    EXPECT_FALSE(std::filesystem::exists(path));
    EXPECT_EQ(out.size(), 7u);
    out.commit();
  }
  EXPECT_EQ(read_text(path), std::string("hello w\0xy", 10));
  EXPECT_EQ(scratch.num_entries(), 1u);
}

TEST(OutputFile, WithoutCommitTheOldFileStaysAndNothingIsLeft) {
  ScratchDirectory scratch;
  const auto path = scratch.write("out.bin", "old");
  {
    OutputFile(path).write("new");
  }
  EXPECT_EQ(read_text(path), "old");
  EXPECT_EQ(scratch.num_entries(), 1u);
}

// Another machine's process of the same number has left its own beside, under the very names that come next.
TEST(OutputFile, NamesOfOthersAreLeftAlone) {
  ScratchDirectory scratch;
  std::string own;
  {
    OutputFile first(scratch / "out.bin");
    for (const auto& entry : std::filesystem::directory_iterator(scratch / "")) own = entry.path().filename().string();
  }
  const std::size_t dash = own.rfind('-');
  const std::uint64_t next = std::stoull(own.substr(dash + 1)) + 1;
  for (std::uint64_t i = next; i < next + 3; ++i) scratch.write(own.substr(0, dash + 1) + std::to_string(i), "theirs");
  OutputFile out(scratch / "out.bin");
  out.write("ours");
  out.commit();
  EXPECT_EQ(read_text(scratch / "out.bin"), "ours");
  EXPECT_EQ(read_text(scratch / (own.substr(0, dash + 1) + std::to_string(next))), "theirs");
  EXPECT_EQ(scratch.num_entries(), 4u);
}

TEST(OutputFile, LinksStayAndWhatTheyPointToIsReplaced) {
  ScratchDirectory scratch;
  std::filesystem::create_directory(scratch / "there");
  std::ofstream(scratch / "there/old.bin") << "old";
  std::filesystem::create_symlink("there/old.bin", scratch / "link");
  std::filesystem::create_symlink("link", scratch / "link of a link");
  std::filesystem::create_symlink("there/new.bin", scratch / "link to nothing");
  for (const auto& [link, target] : {std::pair{"link", "there/old.bin"},
                                     {"link of a link", "there/old.bin"},
                                     {"link to nothing", "there/new.bin"}}) {
    OutputFile out(scratch / link);
    out.write(link);
    out.commit();
    EXPECT_TRUE(std::filesystem::is_symlink(scratch / link)) << link;
    EXPECT_FALSE(std::filesystem::is_symlink(scratch / target)) << link;
    EXPECT_EQ(read_text(scratch / target), link);
  }
  std::filesystem::create_symlink("circle", scratch / "circle");
  EXPECT_THROW(OutputFile(scratch / "circle"), Error);
  std::filesystem::create_directory(scratch / "there/model");
  std::filesystem::create_directory_symlink("there/model", scratch / "linked model");
  {
    OutputDirectory out(scratch / "linked model/");
    std::ofstream(out.temporary_path() / "config.json") << "new";
    out.commit();
  }
  EXPECT_TRUE(std::filesystem::is_symlink(scratch / "linked model"));
  EXPECT_EQ(read_text(scratch / "there/model/config.json"), "new");
}

TEST(OutputFile, SaysWhyItCannotWrite) {
  ScratchDirectory scratch;
  const auto path = [&](const char* name) { return (scratch / name).string(); };
  const auto expect_refused = [&](const auto& open, const std::string& message) {
    try {
      open();
      ADD_FAILURE() << message;
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::io);
      EXPECT_EQ(std::string(e.what()), message);
    }
  };
  const std::string missing =
      ": cannot write: what it would lie in is not there; create the directory first: " + path("no/such");
  expect_refused([&] { OutputFile(scratch / "no/such/out.bin"); }, path("no/such/out.bin") + missing);
  expect_refused([&] { OutputDirectory(scratch / "no/such/out"); }, path("no/such/out") + missing);
  expect_refused([&] { OutputDirectory(scratch / "no/such/out/"); }, path("no/such/out/") + missing);
  const auto file = scratch.write("file", "");
  expect_refused([&] { OutputFile(file / "out.bin"); },
                 path("file/out.bin") +
                     ": cannot write: what it would lie in is no directory; choose another place: " + path("file"));
  std::filesystem::remove(file);
  EXPECT_THROW(OutputFile(scratch.path()), Error);
  EXPECT_EQ(scratch.num_entries(), 0u);
}

TEST(OutputDirectory, ReplacesOnlyItsOwnKind) {
  ScratchDirectory scratch;
  const auto path = scratch / "model";
  const auto write_once = [&](const std::string& text) {
    OutputDirectory out(path);
    std::ofstream(out.temporary_path() / "nibble_manifest.json") << text;
    out.commit();
  };
  write_once("one");
  write_once("two");
  EXPECT_EQ(read_text(path / "nibble_manifest.json"), "two");
  EXPECT_EQ(scratch.num_entries(), 1u);

  std::filesystem::create_directory(scratch / "photos");
  std::ofstream(scratch / "photos/cat.jpg") << "cat";
  EXPECT_THROW(OutputDirectory(scratch / "photos"), Error);
  EXPECT_EQ(read_text(scratch / "photos/cat.jpg"), "cat");
  EXPECT_EQ(scratch.num_entries(), 2u);
}

TEST(OutputDirectory, WithoutCommitNothingIsLeft) {
  ScratchDirectory scratch;
  {
    OutputDirectory out(scratch / "model");
    std::ofstream(out.temporary_path() / "a") << "a";
  }
  EXPECT_EQ(scratch.num_entries(), 0u);
}

TEST(OutputFile, EndingsInSmallLetters) {
  EXPECT_EQ(lower_extension("a/X.GGUF"), ".gguf");
  EXPECT_EQ(lower_extension("x.Dat"), ".dat");
  EXPECT_EQ(lower_extension("directory"), "");
}

TEST(OutputFile, RoomOnTheDiskHasBothNumbers) {
  const ScratchDirectory scratch;
  EXPECT_NO_THROW(require_disk_space(scratch / "out", 1));
  try {
    require_disk_space(scratch / "out", std::uint64_t{1} << 62);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::resource);
    const std::string message = error.what();
    EXPECT_NE(message.find("needed 4611686018427387904 bytes, free "), std::string::npos) << message;
  }
}

}  // namespace
}  // namespace nibble
