// SPDX-License-Identifier: Apache-2.0
//
// Arrays as NumPy 2 writes them: bytes of numpy.save and numpy.savez, and defects in them.
#include "io/npy/npy_file.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "nibble/error.h"

namespace nibble {
namespace {

std::string npy(const std::string& header, const std::string& numbers) {
  std::string padded = header;
  padded.append(63 - (10 + padded.size()) % 64, ' ');
  padded += '\n';
  return std::string("\x93NUMPY\1\0", 8) + static_cast<char>(padded.size()) + '\0' + padded + numbers;
}

NpyArray parse(const std::string& bytes) { return parse_npy(std::as_bytes(std::span(bytes)), "x.npy"); }

std::string error_of(const std::function<void()>& act) {
  try {
    act();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

// numpy.save of numpy.array([[1, -2, 3]], dtype=numpy.float32) is these bytes.
const std::string kFloats = npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1, 3), }",
                                std::string("\0\0\x80\x3f\0\0\0\xc0\0\0\x40\x40", 12));

TEST(Npy, IsReadAndWrittenAsNumpyDoes) {
  const NpyArray array = parse(kFloats);
  EXPECT_EQ(array.shape, (Shape{1, 3}));
  EXPECT_EQ(array.numbers, (std::vector<float>{1, -2, 3}));
  EXPECT_EQ(array.type, "f4");
  EXPECT_EQ(serialize_npy(array), kFloats);
  EXPECT_EQ(kFloats.size(), 128u + 12);
}

TEST(Npy, OtherNumbersAreWidened) {
  const auto numbers = [](const std::string& descr, const std::string& bytes) {
    return parse(npy("{'descr': '" + descr + "', 'fortran_order': False, 'shape': (2,), }", bytes)).numbers;
  };
  const std::vector<float> expected = {3, 0};
  EXPECT_EQ(numbers("|u1", {"\3\0", 2}), expected);
  EXPECT_EQ(numbers("|b1", {"\1\0", 2}), (std::vector<float>{1, 0}));
  EXPECT_EQ(numbers("|i1", {"\xfd\0", 2}), (std::vector<float>{-3, 0}));
  EXPECT_EQ(numbers("<i8", {"\3\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16}), expected);
  EXPECT_EQ(numbers("<f2", {"\0\x42\0\0", 4}), expected);
  EXPECT_EQ(numbers("<f8", {"\0\0\0\0\0\0\x08\x40\0\0\0\0\0\0\0\0", 16}), expected);
}

TEST(Npy, EveryTypeComesBack) {
  for (const char* const type : {"f4", "f8", "f2", "i1", "u1", "b1", "i2", "u2", "i4", "u4", "i8", "u8"}) {
    const NpyArray array{{2, 1}, {1, 0}, type};
    const NpyArray again = parse(serialize_npy(array));
    EXPECT_EQ(again.numbers, array.numbers) << type;
    EXPECT_EQ(again.shape, array.shape);
    EXPECT_EQ(again.type, type);
  }
}

TEST(Npy, ColumnsOneBehindTheOtherAreTurned) {
  EXPECT_EQ(parse(npy("{'descr': '|u1', 'fortran_order': True, 'shape': (2, 3), }", "\1\4\2\5\3\6")).numbers,
            (std::vector<float>{1, 2, 3, 4, 5, 6}));
}

TEST(Npy, ASingleNumber) {
  const NpyArray array = parse(npy("{'descr': '|u1', 'fortran_order': False, 'shape': (), }", "\7"));
  EXPECT_EQ(array.shape, Shape{});
  EXPECT_EQ(array.numbers, (std::vector<float>{7}));
}

TEST(Npy, DefectsAreNamed) {
  const auto error = [](const std::string& bytes) { return error_of([&] { parse(bytes); }); };
  const std::string good = "{'descr': '|u1', 'fortran_order': False, 'shape': (2,), }";
  EXPECT_EQ(error("text"), "x.npy: is no array of NumPy (.npy)");
  EXPECT_EQ(error(npy(good, "\1")), "x.npy: should have 2 numbers and has 1");
  EXPECT_EQ(error(npy("{'descr': '>f4', 'fortran_order': False, 'shape': (1,), }", "....")),
            "x.npy: has its bytes in big-endian order");
  EXPECT_EQ(error(npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", "....")),
            "x.npy: is of elements that are not read: 'O'");
  EXPECT_EQ(error(npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", "....")),
            "x.npy: is of several kinds of elements, or of none");
  EXPECT_EQ(error(npy("{'fortran_order': False, 'shape': (1,), }", ".")), "x.npy: its header does not say descr");
  EXPECT_EQ(error(npy("{'descr': '|u1', 'fortran_order': False, 'shape': (1", ".")),
            "x.npy: its header has a shape that is none");
  EXPECT_EQ(error(npy("{'descr': '<i8', 'fortran_order': False, 'shape': (1,), }", {"\1\0\0\0\0\0\0\1", 8})),
            "x.npy: a whole number beyond 2^24: 72057594037927937");
  EXPECT_NE(error(kFloats.substr(0, 40)), "");
}

TEST(Npz, SeveralArraysByName) {
  const std::string bytes = serialize_npz({{"a", {{2}, {1, 2}}}, {"b/c", {{1, 1}, {3}, "u1"}}});
  EXPECT_TRUE(is_npz(std::as_bytes(std::span(bytes))));
  const std::string nothing = serialize_npz({});
  EXPECT_TRUE(is_npz(std::as_bytes(std::span(nothing))));
  EXPECT_TRUE(parse_npz(std::as_bytes(std::span(nothing)), "x.npz").empty());
  const auto arrays = parse_npz(std::as_bytes(std::span(bytes)), "x.npz");
  ASSERT_EQ(arrays.size(), 2u);
  EXPECT_EQ(arrays[0].first, "a");
  EXPECT_EQ(arrays[0].second.numbers, (std::vector<float>{1, 2}));
  EXPECT_EQ(arrays[1].first, "b/c");
  EXPECT_EQ(arrays[1].second.type, "u1");
}

TEST(Npz, DefectsAreNamed) {
  const std::string bytes = serialize_npz({{"a", {{2}, {1, 2}}}});
  const auto error = [](const std::string& b) {
    return error_of([&] { parse_npz(std::as_bytes(std::span(b)), "x.npz"); });
  };
  EXPECT_EQ(error(bytes.substr(0, bytes.size() - 22)), "x.npz: is no archive of NumPy (.npz), or its end is missing");
  std::string compressed = bytes;
  compressed[compressed.rfind("PK\1\2") + 10] = 8;
  EXPECT_EQ(error(compressed), "x.npz: 'a.npy': is compressed; numpy.savez writes it as it is");
  std::string moved = bytes;
  moved[moved.rfind("PK\1\2") + 42] = 1;
  EXPECT_EQ(error(moved), "x.npz: 'a.npy': is not where the directory says");
}

}  // namespace
}  // namespace nibble
