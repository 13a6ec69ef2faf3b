// SPDX-License-Identifier: Apache-2.0
//
// Files that are not what their names say.
#include <gtest/gtest.h>

#include "file_builder.h"
#include "io/checkpoint.h"
#include "io/foreign_file.h"

namespace nibble {
namespace {

using namespace std::string_view_literals;

const std::string kPointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 4242\n";

TEST(ForeignFile, WeightsAreNamedByHowTheyBegin) {
  const std::pair<std::string_view, std::string_view> cases[] = {
      {kPointer, "a Git LFS pointer"},
      {"<!DOCTYPE html>\n<html><body>Sign in"sv, "a web page"},
      {"  <HTML><head>"sv, "a web page"},
      {"<?xml version=\"1.0\"?><Error>AccessDenied"sv, "a web page"},
      {"PK\x03\x04\x14\x00\x00\x00"sv, "a ZIP archive"},
      {"\x80\x02}q\x00"sv, "a Python pickle"},
      {"\x80\x04\x95\x00\x00"sv, "a Python pickle"},
      {"\x1f\x8b\x08\x00"sv, "a gzip archive"},
      {"\x28\xb5\x2f\xfd\x00"sv, "a Zstandard archive"},
      {"\x89HDF\r\n\x1a\n"sv, "an HDF5 file"},
      {"\x93NUMPY\x01\x00"sv, "a NumPy array"},
      {"tjgg\x03\x00\x00\x00"sv, "a GGML file"},
      {"PAR1\x15\x04\x15\x00"sv, "a Parquet file"},
      {"Entry not found"sv, "text in place of weights"},
      {"{\"error\":\"Repository not found\"}"sv, "text in place of weights"},
      {"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"sv, "a file that begins with nothing but zeros"},
      {""sv, "an empty file"},
  };
  for (const auto& [start, what] : cases) {
    const auto described = describe_foreign_weights(start);
    ASSERT_TRUE(described) << what;
    EXPECT_TRUE(described->starts_with(what)) << *described;
    EXPECT_NE(described->find(';'), std::string::npos) << "no advice: " << *described;
  }
  std::string tar(512, 'x');
  tar.replace(257, 5, "ustar");
  EXPECT_TRUE(describe_foreign_weights(tar)->starts_with("a tar archive"));
}

TEST(ForeignFile, WhatBelongsThereIsNotForeign) {
  EXPECT_FALSE(describe_foreign_weights(gguf_file(0, "", {}, 0)));
  EXPECT_FALSE(describe_foreign_weights(safetensors_file("{}", 0)));
  EXPECT_FALSE(describe_foreign_text("{\"a\": \"<html>\"}"));
  EXPECT_FALSE(describe_foreign_text("{% for message in messages %}"));
  EXPECT_FALSE(describe_foreign_text(""));
}

TEST(ForeignFile, EveryWayInNamesIt) {
  const TemporaryDirectory directory;
  const std::string tail =
      "a Git LFS pointer, not the file that it stands for; fetch that with 'git lfs pull', or download it again";
  for (const char* name : {"model.safetensors", "model.gguf"}) {
    const auto path = directory.write(name, kPointer);
    EXPECT_EQ(error_of([&] { Checkpoint::open(path); }, path), "FILE: this is " + tail);
  }
  const auto unnamed = directory.write("model", kPointer);
  EXPECT_EQ(error_of([&] { Checkpoint::open(unnamed); }, unnamed), "FILE: neither GGUF nor safetensors but " + tail);
  const auto zip = directory.write("model.zip", "PK\x03\x04 and more");
  EXPECT_EQ(error_of([&] { Checkpoint::open(zip); }, zip),
            "FILE: neither GGUF nor safetensors but a ZIP archive, as PyTorch's .bin, .pt and .pth files are; save the "
            "weights as safetensors first");
  directory.write("d/model.safetensors", safetensors_file("{}", 0));
  const auto config = directory.write("d/config.json", kPointer);
  EXPECT_EQ(error_of([&] { Checkpoint::open(config.parent_path()); }, config),
            "FILE: text is not JSON at offset 0; this is " + tail);
  std::filesystem::remove(config);
  const auto tokenizer = directory.write("d/tokenizer.json", kPointer);
  const auto checkpoint = Checkpoint::open(tokenizer.parent_path());
  EXPECT_EQ(error_of([&] { checkpoint.read_side_file("tokenizer.json"); }, tokenizer), "FILE: this is " + tail);
}

}  // namespace
}  // namespace nibble
