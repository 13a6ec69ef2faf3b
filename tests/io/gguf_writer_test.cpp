// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>

#include "file_builder.h"
#include "io/checkpoint.h"
#include "io/checkpoint_writer.h"
#include "written_tensors.h"

namespace nibble {
namespace {

GgufMetadata every_type() {
  GgufMetadata metadata;
  metadata.set("general.architecture", GgufValue::of_string("llama"));
  metadata.set("u8", {GgufType::u8, std::uint64_t{255}});
  metadata.set("i8", {GgufType::i8, std::int64_t{-128}});
  metadata.set("u16", {GgufType::u16, std::uint64_t{65535}});
  metadata.set("i16", {GgufType::i16, std::int64_t{-32768}});
  metadata.set("u32", GgufValue::of_u32(4000000000u));
  metadata.set("i32", GgufValue::of_i32(-2000000000));
  metadata.set("u64", GgufValue::of_u64(~std::uint64_t{0}));
  metadata.set("i64", {GgufType::i64, std::numeric_limits<std::int64_t>::min()});
  metadata.set("f32", GgufValue::of_f32(0.1f));
  metadata.set("f64", {GgufType::f64, 0.1});
  metadata.set("yes", GgufValue::of_bool(true));
  metadata.set("no", GgufValue::of_bool(false));
  metadata.set("strings", GgufValue::of_strings({"", "größe", std::string("a\0b", 3)}));
  metadata.set("f32s", GgufValue::of_f32s({1, -2.5f}));
  metadata.set("i32s", GgufValue::of_i32s({1, -2}));
  metadata.set("u8s", {GgufType::array, GgufArray{GgufType::u8, std::vector<std::uint64_t>{0, 255}}});
  metadata.set("i16s", {GgufType::array, GgufArray{GgufType::i16, std::vector<std::int64_t>{-1}}});
  metadata.set("u64s", {GgufType::array, GgufArray{GgufType::u64, std::vector<std::uint64_t>{}}});
  metadata.set("f64s", {GgufType::array, GgufArray{GgufType::f64, std::vector<double>{0.1}}});
  metadata.set("bools", {GgufType::array, GgufArray{GgufType::boolean, std::vector<std::uint64_t>{1, 0, 1}}});
  return metadata;
}

std::vector<PlannedTensor> some_tensors() {
  return {{"token_embd.weight", {10, 64}, find_format("q8_0")},
          {"output_norm.weight", {7}, find_format("f32")},
          {"blk.0.ffn_up_exps.weight", {2, 3, 32}, find_format("q4_0")},
          {"blk.0.one.weight", {1, 64}, find_format("f16")}};
}

TEST(GgufWriter, RoundTripOfTensorsAndEveryMetadataType) {
  const TemporaryDirectory directory;
  const auto path = directory.path() / "out.gguf";
  const auto plan = some_tensors();
  const auto tensors = random_tensors(plan, 1);
  auto writer = make_gguf_writer(path, every_type(), plan);
  // Any order of tensors, any cut of rows.
  write_in_bands(*writer, 2, tensors[2], 4);
  write_in_bands(*writer, 0, tensors[0], 3);
  write_in_bands(*writer, 1, tensors[1], 1);
  write_in_bands(*writer, 3, tensors[3], 1);
  EXPECT_FALSE(std::filesystem::exists(path));
  writer->finish();
  EXPECT_EQ(directory.num_entries(), 1u);

  const auto checkpoint = Checkpoint::open(path);
  ASSERT_EQ(checkpoint.gguf().items().size(), every_type().items().size());
  for (std::size_t i = 0; i < every_type().items().size(); ++i)
    EXPECT_EQ(checkpoint.gguf().items()[i], every_type().items()[i]) << i;
  ASSERT_EQ(checkpoint.tensors().size(), plan.size());
  for (std::size_t i = 0; i < plan.size(); ++i) {
    EXPECT_EQ(checkpoint.tensors()[i].name, plan[i].name);
    EXPECT_EQ(checkpoint.tensors()[i].offset % 32, 0u);
    expect_same_planes(checkpoint.tensors()[i], tensors[i]);
  }
  EXPECT_EQ(checkpoint.tensor("blk.0.ffn_up_exps.weight").shape, (Shape{2, 3, 32}));
  EXPECT_EQ(checkpoint.tensor("blk.0.one.weight").shape, Shape{64});  // as llama.cpp's tools write it
  EXPECT_EQ(std::filesystem::file_size(path) % 32, 0u);               // the last tensor is padded too
}

TEST(GgufWriter, TheSameInputGivesTheSameBytes) {
  const TemporaryDirectory directory;
  const auto plan = some_tensors();
  for (const char* name : {"a.gguf", "b.gguf"}) {
    auto writer = make_gguf_writer(directory.path() / name, every_type(), plan);
    const auto tensors = random_tensors(plan, 2);
    const std::uint64_t band = name[0] == 'a' ? 1 : 100;
    for (std::size_t i = 0; i < plan.size(); ++i) write_in_bands(*writer, i, tensors[i], band);
    writer->finish();
  }
  EXPECT_EQ(read_file(directory.path() / "a.gguf"), read_file(directory.path() / "b.gguf"));
}

// Read what another program wrote, write it again.
TEST(GgufWriter, TheSameBytesAsTheReferenceWriter) {
  const TemporaryDirectory directory;
  const std::filesystem::path reference = NIBBLE_SOURCE_DIR "/tests/data/io/reference.gguf";
  const auto checkpoint = Checkpoint::open(reference);
  copy_tensors(checkpoint, [&](const auto& plan) {
    return make_gguf_writer(directory.path() / "out.gguf", checkpoint.gguf(), plan);
  });
  EXPECT_EQ(read_file(directory.path() / "out.gguf"), read_file(reference));
}

TEST(GgufWriter, AlignmentComesFromTheMetadata) {
  const TemporaryDirectory directory;
  const auto path = directory.path() / "out.gguf";
  GgufMetadata metadata;
  metadata.set("general.alignment", GgufValue::of_u32(256));
  const std::vector<PlannedTensor> plan = {{"a", {3}, find_format("f32")}, {"b", {5}, find_format("f32")}};
  write_all(*make_gguf_writer(path, metadata, plan), random_tensors(plan, 3));
  EXPECT_EQ(Checkpoint::open(path).tensor("b").offset % 256, 0u);
  EXPECT_EQ(std::filesystem::file_size(path) % 256, 0u);
}

TEST(GgufWriter, MetadataAlone) {
  const TemporaryDirectory directory;
  const auto path = directory.path() / "vocab.gguf";
  make_gguf_writer(path, every_type(), {})->finish();
  EXPECT_EQ(Checkpoint::open(path).tensors().size(), 0u);
}

TEST(GgufWriter, RefusesWhatTheContainerCannotHold) {
  const TemporaryDirectory directory;
  const auto path = directory.path() / "out.gguf";
  const auto message = [&](const std::vector<PlannedTensor>& plan, const GgufMetadata& metadata = {}) {
    return error_of([&] { make_gguf_writer(path, metadata, plan); }, path);
  };
  const auto f32 = find_format("f32");
  EXPECT_EQ(
      message({{"q.weight", {2, 64}, find_format("int4:g32")}}),
      "FILE: tensor 'q.weight': GGUF cannot hold the format int4:g32; write a directory, or choose a GGUF format");
  const auto parts = std::make_shared<TensorParts>();
  parts->tensor_scale = 2.0f;
  parts->input_order = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15,
                        16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31};
  EXPECT_EQ(message({{"w", {2, 32}, find_format("q4_0"), parts}}),
            "FILE: tensor 'w' has what a GGUF file cannot have: input order, tensor scale");
  EXPECT_EQ(message({{std::string(64, 'n'), {4}, f32}}),
            "FILE: tensor '" + std::string(64, 'n') + "': GGUF names have at most 63 bytes: 64");
  EXPECT_EQ(message({{"w", {2, 2, 2, 2, 2}, f32}}),
            "FILE: tensor 'w': GGUF tensors have at most 4 dimensions: [2, 2, 2, 2, 2]");
  EXPECT_EQ(message({{"w", {4}, f32}, {"w", {4}, f32}}), "FILE: tensor 'w': is planned twice");
  EXPECT_EQ(message({{"w", {0, 4}, f32}}), "FILE: tensor 'w': has no elements");
  EXPECT_EQ(message({{"w", {4}, nullptr}}), "FILE: tensor 'w': has no format");
  EXPECT_EQ(message({{"", {4}, f32}}), "FILE: tensor '': has no name");
  GgufMetadata twice, split, mistyped;
  twice.append("k", GgufValue::of_u32(1));
  twice.append("k", GgufValue::of_u32(1));
  split.set("split.count", {GgufType::u16, std::uint64_t{2}});
  mistyped.set("k", {GgufType::u8, std::uint64_t{256}});
  EXPECT_EQ(message({}, twice), "FILE: metadata key 'k' is given twice");
  EXPECT_EQ(message({}, split),
            "FILE: metadata key 'split.count' has no place in a single file; remove the keys that begin with 'split.'");
  EXPECT_EQ(message({}, mistyped), "FILE: metadata key 'k': the value does not fit its type");
  EXPECT_EQ(directory.num_entries(), 0u);
}

TEST(GgufWriter, RefusesBandsThatDoNotFit) {
  const TemporaryDirectory directory;
  const auto path = directory.path() / "out.gguf";
  const std::vector<PlannedTensor> plan = {{"w", {4, 32}, find_format("q8_0")}};
  auto writer = make_gguf_writer(path, {}, plan);
  const auto message = [&](const std::string& format, std::uint64_t rows, std::uint64_t cols) {
    const QuantizedTensor tensor(find_format(format), rows, cols);
    return error_of([&] { writer->write_rows(0, tensor.view()); }, path);
  };
  EXPECT_EQ(message("q4_0", 1, 32), "FILE: tensor 'w': band should be in q8_0 but is in q4_0");
  EXPECT_EQ(message("q8_0", 1, 64), "FILE: tensor 'w': band should have 32 columns but has 64");
  EXPECT_EQ(message("q8_0", 5, 32), "FILE: tensor 'w': band has more rows than are left, 4: 5");
  EXPECT_EQ(message("q8_0", 3, 32), "no error");
  EXPECT_EQ(error_of([&] { writer->finish(); }, path), "FILE: tensor 'w' is not complete: 3 of 4 rows were written");
  EXPECT_EQ(error_of([&] { writer->finish(); }, path), "FILE: the writer has finished or failed");
  EXPECT_EQ(directory.num_entries(), 0u);
}

TEST(GgufWriter, NothingIsLeftWhenAbandoned) {
  const TemporaryDirectory directory;
  {
    const auto plan = some_tensors();
    auto writer = make_gguf_writer(directory.path() / "out.gguf", {}, plan);
    write_in_bands(*writer, 0, random_tensors(plan, 4)[0], 2);
    EXPECT_EQ(directory.num_entries(), 1u);
  }
  EXPECT_EQ(directory.num_entries(), 0u);
}

// The temporary file is damaged behind the writer's back, as a failing disk would.
TEST(GgufWriter, ReadingBackFindsDamage) {
  const TemporaryDirectory directory;
  const auto path = directory.path() / "out.gguf";
  const auto plan = some_tensors();
  const auto damaged_at = [&](std::streamoff offset) {
    auto writer = make_gguf_writer(path, every_type(), plan);
    const auto tensors = random_tensors(plan, 5);
    for (std::size_t i = 0; i < plan.size(); ++i) write_in_bands(*writer, i, tensors[i], 100);
    const auto temporary = std::filesystem::directory_iterator(directory.path())->path();
    std::fstream file(temporary, std::ios::binary | std::ios::in | std::ios::out);
    file.seekg(offset, offset < 0 ? std::ios::end : std::ios::beg);
    const char byte = static_cast<char>(file.get() ^ 1);
    file.seekp(offset, offset < 0 ? std::ios::end : std::ios::beg);
    file.put(byte);
    file.close();
    const std::string message = error_of([&] { writer->finish(); }, path);
    EXPECT_EQ(directory.num_entries(), 0u);
    return message;
  };
  EXPECT_EQ(damaged_at(-128),
            "FILE: tensor 'blk.0.one.weight': read back differs from what was written; the disk may be failing");
  EXPECT_EQ(damaged_at(60), "FILE: the header read back differs from what was written; the disk may be failing");
}

TEST(GgufWriter, PlacesThatCannotBeWritten) {
  const TemporaryDirectory directory;
  const auto missing = directory.path() / "no" / "out.gguf";
  EXPECT_EQ(error_of([&] { make_gguf_writer(missing, {}, some_tensors()); }, missing),
            "FILE: cannot write: what it would lie in is not there; create the directory first: " +
                missing.parent_path().string());
  EXPECT_EQ(error_of([&] { make_gguf_writer(directory.path(), {}, some_tensors()); }, directory.path()),
            "FILE: cannot write: Is a directory");
}

// A limit on the size of files stands for a full disk: the system refuses the write in the same place.
TEST(GgufWriter, RunningOutOfRoomNamesTheOutputAndLeavesNothing) {
  const TemporaryDirectory directory;
  const auto path = directory.path() / "out.gguf";
  const std::vector<PlannedTensor> plan = {{"w", {64, 1024}, find_format("f32")}};
  const auto tensors = random_tensors(plan, 6);
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{65536, before.rlim_max};
  ErrorKind kind = ErrorKind::internal;
  setrlimit(RLIMIT_FSIZE, &small);
  const std::string message = error_of([&] { write_all(*make_gguf_writer(path, {}, plan), tensors); }, path, &kind);
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, old_handler);
  EXPECT_EQ(message, "FILE: cannot write: File too large");
  EXPECT_EQ(kind, ErrorKind::resource);
  EXPECT_EQ(directory.num_entries(), 0u);
}

}  // namespace
}  // namespace nibble
