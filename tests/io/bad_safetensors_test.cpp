// SPDX-License-Identifier: Apache-2.0
//
// One named defect a file, and the exact line that a user sees.
#include <gtest/gtest.h>

#include <ostream>

#include "file_builder.h"
#include "io/checkpoint.h"

namespace nibble {
namespace {

struct BadSafetensors {
  std::string defect;
  std::string bytes;
  std::string message;
};

void PrintTo(const BadSafetensors& file, std::ostream* out) { *out << file.defect; }

std::string deep_lists(std::size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); }

std::vector<BadSafetensors> bad_headers() {
  return {
      {"empty", "", "FILE: this is an empty file; download it again"},
      {"length_cut", "\x08\x00\x00", "FILE: file ends inside header length at offset 0: needs 8 bytes, has 1"},
      {"length_over_limit", Bytes().u64(100000001).raw("{}").text(),
       "FILE: header length at offset 0 is over the limit of 100000000 bytes: 100000001"},
      {"length_absurd", Bytes().u64(~std::uint64_t{0}).raw("{}").text(),
       "FILE: header length at offset 0 is over the limit of 100000000 bytes: 18446744073709551615"},
      {"length_beyond_file", Bytes().u64(100).raw("{}").text(),
       "FILE: file ends inside header at offset 8: needs 100 bytes, has 2"},
      {"header_empty", Bytes().u64(0).text(), "FILE: header does not begin with '{' at offset 8"},
      {"header_begins_with_space", safetensors_file(" {}", 0), "FILE: header does not begin with '{' at offset 8"},
      {"header_is_a_list", safetensors_file("[]", 0), "FILE: header does not begin with '{' at offset 8"},
      {"header_not_utf8", safetensors_file("{\"a\xff\":1}", 0), "FILE: header is not UTF-8 at offset 11"},
      {"header_not_json", safetensors_file("{\"a\" 1}", 0), "FILE: header is not JSON at offset 13"},
      {"header_unfinished", safetensors_file("{\"a\":{", 0), "FILE: header is not JSON at offset 14"},
      {"header_goes_on", safetensors_file("{} x", 0), "FILE: header is not JSON at offset 11"},
      {"padded_with_zeros", safetensors_file(std::string("{}\0\0", 4), 0), "FILE: header is not JSON at offset 10"},
      {"metadata_not_an_object", safetensors_file(R"({"__metadata__":5})", 0),
       "FILE: __metadata__ should be an object but is a number"},
      {"metadata_of_a_number", safetensors_file(R"({"__metadata__":{"a":1}})", 0),
       "FILE: __metadata__ 'a' should be a string but is a number"},
      {"metadata_of_an_object", safetensors_file(R"({"__metadata__":{"a":{}}})", 0),
       "FILE: __metadata__ 'a' should be a string but is an object"},
      {"metadata_key_twice", safetensors_file(R"({"__metadata__":{"a":"1","a":"2"}})", 0),
       "FILE: __metadata__ has the key 'a' twice"},
      {"metadata_twice", safetensors_file(R"({"__metadata__":{},"__metadata__":{}})", 0),
       "FILE: tensor '__metadata__' appears twice in the header"},
  };
}

std::vector<BadSafetensors> bad_entries() {
  const auto entry = [](const std::string& fields, std::size_t bytes = 16) {
    return safetensors_file("{\"w\":" + fields + "}", bytes);
  };
  return {
      {"entry_not_an_object", entry("[1]"), "FILE: tensor 'w' should be an object but is an array"},
      {"tensor_twice",
       safetensors_file(
           R"({"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"w":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
           2),
       "FILE: tensor 'w' appears twice in the header"},
      {"dtype_missing", entry(R"({"shape":[4],"data_offsets":[0,16]})"), "FILE: tensor 'w': field 'dtype' is missing"},
      {"dtype_unknown", entry(R"({"dtype":"F33","shape":[4],"data_offsets":[0,16]})"),
       "FILE: tensor 'w': unknown dtype: 'F33'"},
      {"dtype_twice", entry(R"({"dtype":"F32","dtype":"F32","shape":[4],"data_offsets":[0,16]})"),
       "FILE: tensor 'w': field 'dtype' appears twice"},
      {"dtype_a_number", entry(R"({"dtype":32,"shape":[4],"data_offsets":[0,16]})"),
       "FILE: tensor 'w': field 'dtype' should be a string but is a number"},
      {"shape_missing", entry(R"({"dtype":"F32","data_offsets":[0,16]})"),
       "FILE: tensor 'w': field 'shape' is missing"},
      {"shape_negative", entry(R"({"dtype":"F32","shape":[-4],"data_offsets":[0,16]})"),
       "FILE: tensor 'w': shape should be unsigned integers but is a negative number"},
      {"shape_fractional", entry(R"({"dtype":"F32","shape":[4.0],"data_offsets":[0,16]})"),
       "FILE: tensor 'w': shape should be unsigned integers but is a number that is not an unsigned integer"},
      {"shape_a_string", entry(R"({"dtype":"F32","shape":"4","data_offsets":[0,16]})"),
       "FILE: tensor 'w': field 'shape' should be an array of unsigned integers but is a string"},
      {"shape_nested", entry(R"({"dtype":"F32","shape":[[4]],"data_offsets":[0,16]})"),
       "FILE: tensor 'w': shape should be unsigned integers but is an array"},
      {"shape_too_deep", entry(R"({"dtype":"U8","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,1]})", 1),
       "FILE: tensor 'w': more than 8 dimensions"},
      {"shape_overflowing", entry(R"({"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,16]})"),
       "FILE: tensor 'w': the number of elements overflows: shape [4294967296, 4294967296]"},
      {"bits_overflowing", entry(R"({"dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,16]})"),
       "FILE: tensor 'w': the number of bits overflows: F32 [4611686018427387904]"},
      {"shape_above_64_bits", entry(R"({"dtype":"F32","shape":[18446744073709551616],"data_offsets":[0,16]})"),
       "FILE: tensor 'w': shape should be unsigned integers but is a number that is not an unsigned integer"},
      {"half_a_byte", entry(R"({"dtype":"F4","shape":[3],"data_offsets":[0,2]})", 2),
       "FILE: tensor 'w': elements do not fill whole bytes: F4 [3]"},
      {"offsets_missing", entry(R"({"dtype":"F32","shape":[4]})"), "FILE: tensor 'w': field 'data_offsets' is missing"},
      {"offsets_one", entry(R"({"dtype":"F32","shape":[4],"data_offsets":[16]})"),
       "FILE: tensor 'w': data_offsets should hold two numbers but hold 1"},
      {"offsets_three", entry(R"({"dtype":"F32","shape":[4],"data_offsets":[0,8,16]})"),
       "FILE: tensor 'w': data_offsets should hold two numbers but hold more"},
      {"offsets_reversed", entry(R"({"dtype":"F32","shape":[4],"data_offsets":[16,0]})"),
       "FILE: tensor 'w': data_offsets end before they begin: [16, 0]"},
      {"nested_too_deep", entry(R"({"dtype":"F32","shape":[4],"data_offsets":[0,16],"x":)" + deep_lists(70) + "}"),
       "FILE: tensor 'w': JSON is nested deeper than 64 levels"},
  };
}

std::vector<BadSafetensors> bad_layouts() {
  const auto two = [](const std::string& a, const std::string& b, std::size_t bytes) {
    return safetensors_file(R"({"a":{"dtype":"F32","shape":[4],"data_offsets":)" + a +
                                R"(},"b":{"dtype":"F32","shape":[4],"data_offsets":)" + b + "}}",
                            bytes);
  };
  return {
      {"gap_at_start", two("[4,20]", "[20,36]", 36),
       "FILE: tensor 'a': leaves a gap after the tensor before it: data_offsets begin at 4, not at 0"},
      {"gap_between", two("[0,16]", "[20,36]", 36),
       "FILE: tensor 'b': leaves a gap after the tensor before it: data_offsets begin at 20, not at 16"},
      {"overlap", two("[0,16]", "[12,28]", 28),
       "FILE: tensor 'b': overlaps the tensor before it: data_offsets begin at 12, not at 16"},
      {"shared", two("[0,16]", "[0,16]", 16),
       "FILE: tensor 'b': overlaps the tensor before it: data_offsets begin at 0, not at 16"},
      {"size_too_small", two("[0,12]", "[12,28]", 28),
       "FILE: tensor 'a': F32 [4] needs 16 bytes but data_offsets hold 12"},
      {"size_too_large", two("[0,20]", "[20,36]", 36),
       "FILE: tensor 'a': F32 [4] needs 16 bytes but data_offsets hold 20"},
      {"data_truncated", two("[0,16]", "[16,32]", 31),
       "FILE: tensor 'b': ends beyond the file: needs 16 bytes at offset 134, file has 149 bytes"},
      {"trailing_bytes", two("[0,16]", "[16,32]", 33),
       "FILE: the file goes on after its last tensor at offset 150: 1 bytes too many"},
      {"bytes_without_tensors", safetensors_file("{}", 3),
       "FILE: the file goes on after its last tensor at offset 10: 3 bytes too many"},
  };
}

class BadSafetensorsTest : public ::testing::TestWithParam<BadSafetensors> {};

TEST_P(BadSafetensorsTest, SaysWhatIsWrong) {
  const TemporaryDirectory directory;
  const auto path = directory.write("model.safetensors", GetParam().bytes);
  ErrorKind kind = ErrorKind::internal;
  EXPECT_EQ(error_of([&] { Checkpoint::open(path); }, path, &kind), GetParam().message);
  EXPECT_EQ(kind, ErrorKind::corrupt);
}

const auto kName = [](const ::testing::TestParamInfo<BadSafetensors>& info) { return info.param.defect; };
INSTANTIATE_TEST_SUITE_P(Header, BadSafetensorsTest, ::testing::ValuesIn(bad_headers()), kName);
INSTANTIATE_TEST_SUITE_P(Entry, BadSafetensorsTest, ::testing::ValuesIn(bad_entries()), kName);
INSTANTIATE_TEST_SUITE_P(Layout, BadSafetensorsTest, ::testing::ValuesIn(bad_layouts()), kName);

TEST(BadSafetensors, UnknownFieldsAndPaddingAreFine) {
  const TemporaryDirectory directory;
  const std::string header =
      R"({"w":{"x":{"y":[1,{"z":null}]},"dtype":"F32","more":[1.5,-2,"s",true],"shape":[2,2],"data_offsets":[0,16]}}   )";
  const auto checkpoint = Checkpoint::open(directory.write("model.safetensors", safetensors_file(header, 16)));
  ASSERT_EQ(checkpoint.tensors().size(), 1u);
  EXPECT_EQ(checkpoint.tensor("w").shape, (Shape{2, 2}));
}

TEST(BadSafetensors, NamesAreMadeFitForOneLine) {
  const TemporaryDirectory directory;
  const std::string name(200, 'n');
  const auto path = directory.write("model.safetensors", safetensors_file(R"({"a\n\u001b[31mb":1})", 0));
  EXPECT_EQ(error_of([&] { Checkpoint::open(path); }, path),
            "FILE: tensor 'a??[31mb' should be an object but is a number");
  directory.write("model.safetensors", safetensors_file("{\"" + name + "\":1}", 0));
  EXPECT_EQ(error_of([&] { Checkpoint::open(path); }, path),
            "FILE: tensor '" + name.substr(0, 120) + "...' should be an object but is a number");
}

TEST(BadSafetensors, EveryTruncationIsJudged) {
  const TemporaryDirectory directory;
  const std::string whole = safetensors_file(
      R"({"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]},"b":{"dtype":"U8","shape":[3],"data_offsets":[16,19]}})",
      19);
  for (std::size_t length = 0; length < whole.size(); ++length) {
    const auto path = directory.write("model.safetensors", std::string_view(whole).substr(0, length));
    EXPECT_THROW(Checkpoint::open(path), Error) << length;
  }
  EXPECT_NO_THROW(Checkpoint::open(directory.write("model.safetensors", whole)));
}

}  // namespace
}  // namespace nibble
