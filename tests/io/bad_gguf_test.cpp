// SPDX-License-Identifier: Apache-2.0
//
// One named defect a file, and the exact line that a user sees.
#include <gtest/gtest.h>

#include <ostream>

#include "file_builder.h"
#include "io/checkpoint.h"

namespace nibble {
namespace {

struct BadGguf {
  std::string defect;
  std::string bytes;
  ErrorKind kind;
  std::string message;
};

void PrintTo(const BadGguf& file, std::ostream* out) { *out << file.defect; }

Bytes u32_item(std::string_view key, std::uint32_t value) { return Bytes().string(key).u32(4).u32(value); }

std::string one_tensor(const GgufEntry& entry, std::size_t data_bytes) { return gguf_file(0, "", {entry}, data_bytes); }

std::vector<BadGguf> bad_containers() {
  const auto corrupt = ErrorKind::corrupt, unsupported = ErrorKind::unsupported;
  return {
      {"empty", "", corrupt, "FILE: this is an empty file; download it again"},
      {"bad_magic", "GGML" + std::string(20, '\0'), corrupt,
       "FILE: not a GGUF file: the magic at offset 0 is not 'GGUF'"},
      {"version_missing", "GGUF", corrupt, "FILE: file ends inside version at offset 4: needs 4 bytes, has 0"},
      {"version_0", Bytes().raw("GGUF").u32(0).u64(0).u64(0).text(), unsupported,
       "FILE: wrong byte order: the file is big-endian; convert it on the machine that wrote it: version 0x00000000"},
      {"version_1", Bytes().raw("GGUF").u32(1).u64(0).u64(0).text(), unsupported,
       "FILE: GGUF version at offset 4 is neither 2 nor 3: 1"},
      {"version_4", Bytes().raw("GGUF").u32(4).u64(0).u64(0).text(), unsupported,
       "FILE: GGUF version at offset 4 is neither 2 nor 3: 4"},
      {"big_endian", Bytes().raw("GGUF").u32(0x03000000).u64(0).u64(0).text(), unsupported,
       "FILE: wrong byte order: the file is big-endian; convert it on the machine that wrote it: version 0x03000000"},
      {"tensor_count_missing", Bytes().raw("GGUF").u32(3).u32(0).text(), corrupt,
       "FILE: file ends inside tensor count at offset 8: needs 8 bytes, has 4"},
      {"tensor_count_absurd", Bytes().raw("GGUF").u32(3).u64(1u << 30).u64(0).text(), corrupt,
       "FILE: tensor count at offset 8 is more than the file can hold, 0: 1073741824"},
      {"tensor_count_negative", Bytes().raw("GGUF").u32(3).u64(~std::uint64_t{0}).u64(0).text(), corrupt,
       "FILE: tensor count at offset 8 is more than the file can hold, 0: 18446744073709551615"},
      {"key_count_absurd", Bytes().raw("GGUF").u32(3).u64(0).u64(1000).zeros(140).text(), corrupt,
       "FILE: metadata key count at offset 16 is more than the file can hold, 10: 1000"},
  };
}

std::vector<BadGguf> bad_metadata() {
  const auto corrupt = ErrorKind::corrupt;
  const std::string rest(64, '\0');
  return {
      {"key_empty", gguf_file(1, Bytes().string("").u32(4).u32(1).text(), {}, 64), corrupt,
       "FILE: metadata key 0 at offset 24 is empty"},
      {"key_not_utf8", gguf_file(1, u32_item("a\xff", 1).text(), {}, 64), corrupt,
       "FILE: metadata key 0 at offset 24 is not UTF-8: 'a?'"},
      {"key_too_long", gguf_file(1, Bytes().u64(65536).text(), {}, 70000), corrupt,
       "FILE: metadata key at offset 24 is longer than 65535 bytes: 65536"},
      {"key_longer_than_file", gguf_file(1, Bytes().u64(1000).text(), {}, 64), corrupt,
       "FILE: file ends inside metadata key at offset 32: needs 1000 bytes, has 64"},
      {"key_twice", gguf_file(2, u32_item("a", 1).text() + u32_item("a", 2).text(), {}, 64), corrupt,
       "FILE: metadata key 'a' appears twice, again at offset 41"},
      {"type_unknown", gguf_file(1, Bytes().string("a").u32(13).u32(1).text(), {}, 64), corrupt,
       "FILE: metadata key 'a': unknown value type at offset 33: 13"},
      {"value_missing", gguf_file(1, Bytes().string("abcdefg").u32(10).u32(1).text(), {}, 0), corrupt,
       "FILE: file ends inside metadata value at offset 43: needs 8 bytes, has 4"},
      {"string_absurd", gguf_file(1, Bytes().string("a").u32(8).u64(std::uint64_t{1} << 31).text(), {}, 64), corrupt,
       "FILE: value of 'a' at offset 37 is longer than 1073741824 bytes: 2147483648"},
      {"string_longer_than_file", gguf_file(1, Bytes().string("a").u32(8).u64(100).text(), {}, 64), corrupt,
       "FILE: file ends inside value of 'a' at offset 45: needs 100 bytes, has 64"},
      {"array_of_arrays", gguf_file(1, Bytes().string("a").u32(9).u32(9).u64(0).text(), {}, 64), corrupt,
       "FILE: metadata key 'a': array of arrays at offset 37"},
      {"array_absurd", gguf_file(1, Bytes().string("a").u32(9).u32(8).u64(9).text(), {}, 64), corrupt,
       "FILE: metadata key 'a': array length at offset 41 is more than the file can hold, 8: 9"},
      {"array_overflowing", gguf_file(1, Bytes().string("a").u32(9).u32(10).u64(std::uint64_t{1} << 61).text(), {}, 64),
       corrupt,
       "FILE: metadata key 'a': array length at offset 41 is more than the file can hold, 8: 2305843009213693952"},
      {"array_string_longer_than_file", gguf_file(1, Bytes().string("a").u32(9).u32(8).u64(1).u64(60).text(), {}, 40),
       corrupt, "FILE: file ends inside string of 'a' at offset 57: needs 60 bytes, has 40"},
      {"alignment_of_wrong_type", gguf_file(1, Bytes().string("general.alignment").u32(10).u64(32).text(), {}, 64),
       corrupt, "FILE: metadata key 'general.alignment' should be u32 but is stored as u64"},
      {"alignment_zero", gguf_file(1, u32_item("general.alignment", 0).text(), {}, 64), corrupt,
       "FILE: metadata key 'general.alignment' is not a power of two: 0"},
      {"alignment_odd", gguf_file(1, u32_item("general.alignment", 48).text(), {}, 64), corrupt,
       "FILE: metadata key 'general.alignment' is not a power of two: 48"},
  };
}

std::vector<BadGguf> bad_tensors() {
  const auto corrupt = ErrorKind::corrupt, unsupported = ErrorKind::unsupported;
  const std::string name64(64, 'n');
  return {
      {"name_empty", one_tensor({"", {4}, 0, 0}, 64), corrupt, "FILE: name of tensor 0 at offset 24 is empty"},
      {"name_too_long", one_tensor({name64, {4}, 0, 0}, 64), corrupt,
       "FILE: tensor name at offset 24 is longer than 63 bytes: 64"},
      {"name_not_utf8", one_tensor({"w\xc3", {4}, 0, 0}, 64), corrupt,
       "FILE: name of tensor 0 at offset 24 is not UTF-8: 'w?'"},
      {"name_twice", gguf_file(0, "", {{"w", {4}, 0, 0}, {"w", {4}, 0, 32}}, 64), corrupt,
       "FILE: tensor 'w' appears twice, again at offset 57"},
      {"dimensions_too_many", one_tensor({"w", {1, 1, 1, 1, 4}, 0, 0}, 64), corrupt,
       "FILE: tensor 'w': more than 4 dimensions at offset 33: 5"},
      {"dimension_negative", one_tensor({"w", {4, ~std::uint64_t{0}}, 0, 0}, 64), corrupt,
       "FILE: tensor 'w': negative dimension at offset 45: -1"},
      {"elements_overflow", one_tensor({"w", {std::uint64_t{1} << 62, 4}, 0, 0}, 64), corrupt,
       "FILE: tensor 'w': the number of elements overflows: shape [4, 4611686018427387904]"},
      {"type_of_another_program", one_tensor({"w", {4}, 139, 0}, 64), unsupported,
       "FILE: tensor 'w': type IQ4_K is one of ik_llama.cpp's own; make the file again from the original model, or "
       "with a type of llama.cpp at offset 45: 139"},
      {"type_with_interleaved_rows", one_tensor({"w", {4}, 212, 0}, 64), unsupported,
       "FILE: tensor 'w': type is one of ik_llama.cpp's with interleaved rows; make the file again from the original "
       "model, or with a type of llama.cpp at "
       "offset 45: 212"},
      {"type_unknown", one_tensor({"w", {4}, 99, 0}, 64), unsupported,
       "FILE: tensor 'w': unknown type at offset 45: 99"},
      {"type_removed", one_tensor({"w", {32}, 4, 0}, 64), unsupported,
       "FILE: tensor 'w': type Q4_2 was removed from the format; requantize from the original at offset 45: 4"},
      {"row_not_whole_blocks", one_tensor({"w", {48, 2}, 2, 0}, 64), corrupt,
       "FILE: tensor 'w': rows do not fill whole blocks of Q4_0: 48 at a multiple of 32"},
      {"larger_than_file", one_tensor({"w", {1u << 20, 1u << 20}, 0, 0}, 64), corrupt,
       "FILE: tensor 'w': larger than the file of 160 bytes: F32 [1048576, 1048576]"},
      {"offset_gap", gguf_file(0, "", {{"a", {4}, 0, 0}, {"b", {4}, 0, 64}}, 128), corrupt,
       "FILE: tensor 'b': offset in the data section should be 32 but is 64"},
      {"offset_shared", gguf_file(0, "", {{"a", {4}, 0, 0}, {"b", {4}, 0, 0}}, 128), corrupt,
       "FILE: tensor 'b': offset in the data section should be 32 but is 0"},
      {"offset_unaligned", gguf_file(0, "", {{"a", {4}, 0, 0}, {"b", {4}, 0, 16}}, 128), corrupt,
       "FILE: tensor 'b': offset in the data section should be 32 but is 16"},
      {"offset_absurd", one_tensor({"w", {4}, 0, ~std::uint64_t{0}}, 64), corrupt,
       "FILE: tensor 'w': offset in the data section should be 0 but is 18446744073709551615"},
      {"data_truncated", one_tensor({"w", {4}, 0, 0}, 15), corrupt,
       "FILE: tensor 'w': ends beyond the file: needs 16 bytes at offset 64, file has 79 bytes"},
      {"second_truncated", gguf_file(0, "", {{"a", {4}, 0, 0}, {"b", {4}, 0, 32}}, 32), corrupt,
       "FILE: tensor 'b': ends beyond the file: needs 16 bytes at offset 128, file has 128 bytes"},
      {"entry_truncated", Bytes().raw("GGUF").u32(3).u64(1).u64(0).string("weight").u32(1).u64(4).u32(0).text(),
       corrupt, "FILE: file ends inside tensor offset at offset 54: needs 8 bytes, has 0"},
  };
}

class BadGgufTest : public ::testing::TestWithParam<BadGguf> {};

TEST_P(BadGgufTest, SaysWhatIsWrong) {
  const TemporaryDirectory directory;
  const auto path = directory.write("model.gguf", GetParam().bytes);
  ErrorKind kind = ErrorKind::internal;
  EXPECT_EQ(error_of([&] { Checkpoint::open(path); }, path, &kind), GetParam().message);
  EXPECT_EQ(kind, GetParam().kind);
}

const auto kName = [](const ::testing::TestParamInfo<BadGguf>& info) { return info.param.defect; };
INSTANTIATE_TEST_SUITE_P(Container, BadGgufTest, ::testing::ValuesIn(bad_containers()), kName);
INSTANTIATE_TEST_SUITE_P(Metadata, BadGgufTest, ::testing::ValuesIn(bad_metadata()), kName);
INSTANTIATE_TEST_SUITE_P(Tensors, BadGgufTest, ::testing::ValuesIn(bad_tensors()), kName);

// The same builder with nothing damaged: what the cases above differ from.
TEST(BadGguf, TheUndamagedFileOpens) {
  const TemporaryDirectory directory;
  const auto path = directory.write(
      "model.gguf", gguf_file(1, u32_item("a", 1).text(), {{"a", {4}, 0, 0}, {"b", {4, 2}, 0, 32}}, 64));
  const auto checkpoint = Checkpoint::open(path);
  ASSERT_EQ(checkpoint.tensors().size(), 2u);
  EXPECT_EQ(checkpoint.tensor("b").shape, (Shape{2, 4}));
  EXPECT_EQ(checkpoint.gguf().unsigned_integer("a"), 1u);
}

// Every prefix of a good file is refused or, where only padding is cut, accepted; never read beyond its end.
TEST(BadGguf, EveryTruncationIsJudged) {
  const TemporaryDirectory directory;
  const std::string whole =
      gguf_file(2, u32_item("a", 1).text() + Bytes().string("s").u32(9).u32(8).u64(2).string("x").string("yz").text(),
                {{"a", {4}, 0, 0}, {"b", {32, 2}, 2, 32}}, 32 + 36);
  for (std::size_t length = 0; length < whole.size(); ++length) {
    const auto path = directory.write("model.gguf", std::string_view(whole).substr(0, length));
    EXPECT_THROW(Checkpoint::open(path), Error) << length;
  }
  EXPECT_NO_THROW(Checkpoint::open(directory.write("model.gguf", whole)));
}

}  // namespace
}  // namespace nibble
