// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <array>
#include <cstring>

#include "calibrate/adequacy.h"
#include "calibrate/imatrix_file.h"
#include "calibrate/statistics_file.h"
#include "model/tiny_models.h"

namespace nibble {
namespace {

Statistics example(const ModelTensors& tensors) {
  Statistics statistics;
  statistics.texts = {"a \"quoted\" name.txt"};
  statistics.samples = 4;
  statistics.length = 16;
  std::uint64_t number = 1;
  const auto add = [&](std::int64_t layer, std::string_view name, std::uint64_t width, std::int64_t expert) {
    SiteStatistics site;
    site.layer = layer;
    site.site = name;
    site.expert = expert;
    site.count = expert < 0 ? 64 : static_cast<std::uint64_t>(10 * expert);
    for (std::uint64_t i = 0; i < width; ++i) site.mean_square.push_back(static_cast<float>(number++) / 16);
    site.absmax = site.mean_square;
    site.histogram.assign(kHistogramBins, number);
    site.negatives.assign(kHistogramBins, number / 2);
    site.lowest = -static_cast<float>(number);
    site.highest = 0.5F;
    site.second_moment.assign(width * width, 0.25F);
    statistics.sites.push_back(site);
  };
  for (const Site& site : tensors.network().layer(0).sites)
    for (std::int64_t e = site.first_expert(); e < site.end_expert(); ++e) add(0, site.name, site.width, e);
  add(-1, "head_in", tensors.part("embedding", -1)->shape.back(), -1);
  return statistics;
}

const SiteStatistics& same_site(const Statistics& statistics, const SiteStatistics& site) {
  const SiteStatistics* const found = statistics.find(site);
  EXPECT_NE(found, nullptr) << site.name();
  return *found;
}

class StatisticsFile : public testing::Test {
 protected:
  ScratchDirectory scratch_;
  SourceModel checkpoint_ = SourceModel::open(data_directory() / "tiny_tied");
  ModelTensors tensors_{checkpoint_.config()};
};

TEST_F(StatisticsFile, ReadsBackWhatWasWritten) {
  const Statistics written = example(tensors_);
  const auto path = scratch_.path() / "s.safetensors";
  write_statistics(written, path);
  const Statistics read = read_statistics(path);
  EXPECT_EQ(read.texts, written.texts);
  EXPECT_EQ(read.samples, 4u);
  EXPECT_EQ(read.length, 16u);
  ASSERT_EQ(read.sites.size(), written.sites.size());
  for (const SiteStatistics& site : written.sites) {
    const SiteStatistics& back = same_site(read, site);
    EXPECT_EQ(back.count, site.count);
    EXPECT_EQ(back.mean_square, site.mean_square);
    EXPECT_EQ(back.negatives, site.negatives);
    EXPECT_EQ(back.lowest, site.lowest);
    EXPECT_EQ(back.highest, site.highest);
    EXPECT_EQ(back.absmax, site.absmax);
    EXPECT_EQ(back.second_moment, site.second_moment);
    EXPECT_EQ(back.histogram, site.histogram);
  }
}

TEST_F(StatisticsFile, ImportanceMatricesReadBackInBothForms) {
  const Statistics written = example(tensors_);
  for (const char* name : {"i.gguf", "i.dat"}) {
    write_imatrix(written, tensors_, scratch_.path() / name);
    const Statistics read = read_imatrix(scratch_.path() / name, tensors_);
    EXPECT_EQ(read.texts, written.texts) << name;
    ASSERT_EQ(read.sites.size(), written.sites.size()) << name;
    for (const SiteStatistics& site : written.sites) {
      const SiteStatistics& back = same_site(read, site);
      for (std::size_t i = 0; i < site.width(); ++i)
        EXPECT_NEAR(back.mean_square[i], site.mean_square[i], site.mean_square[i] * 0x1p-22) << name;
    }
  }
}

// llama.cpp has the value heads of recurrent layers in another order than a directory, and with them the columns that
// they are.
TEST_F(StatisticsFile, ImportanceMatricesHaveTheColumnsOfGgufFiles) {
  ModelConfig config = SourceModel::open(data_directory() / "tiny_qwen35").config();
  const ModelTensors tensors(config);
  config.tiles_delta_heads = true;
  const ModelTensors tiled(config);
  const Statistics written = example(tensors);
  for (const char* const name : {"i.gguf", "i.dat"}) {
    write_imatrix(written, tensors, scratch_ / name);
    const std::vector<float> own = written.find({0, "delta_out"})->mean_square,
                             back = read_imatrix(scratch_ / name, tensors).find({0, "delta_out"})->mean_square,
                             in_file = read_imatrix(scratch_ / name, tiled).find({0, "delta_out_tiled"})->mean_square;
    const std::size_t length = config.delta_value_dim;
    for (std::size_t i = 0; i < own.size(); ++i) {
      EXPECT_NEAR(back[i], own[i], own[i] * 0x1p-22) << name;
      // Three heads for each of two key heads: the second in the file is the fourth here.
      const std::size_t head = std::array<std::size_t, 6>{0, 3, 1, 4, 2, 5}[i / length];
      EXPECT_NEAR(in_file[i], own[head * length + i % length], own[i] * 1e-3) << name;
    }
  }
}

// Experts by themselves in our own file, in the rows of a stack in an importance matrix; the first saw no token.
TEST_F(StatisticsFile, KnowExperts) {
  const ModelTensors tensors(SourceModel::open(data_directory() / "tiny_mixtral").config());
  const Statistics written = example(tensors);
  const std::uint64_t experts = tensors.network().layer(0).find_site("experts_in")->experts;
  ASSERT_EQ(written.sites.size(), 3 + 2 * experts + 1);
  write_statistics(written, scratch_ / "own");
  write_imatrix(written, tensors, scratch_ / "i.gguf");
  write_imatrix(written, tensors, scratch_ / "i.dat");
  const Checkpoint file = Checkpoint::open(scratch_ / "i.gguf");
  EXPECT_EQ(file.tensor("blk.0.ffn_gate_exps.weight.in_sum2").shape,
            (Shape{experts, tensors.part("expert_gate.0", 0)->shape[1]}));
  EXPECT_EQ(file.tensor("blk.0.ffn_down_exps.weight.counts").shape, (Shape{experts, 1}));
  for (const char* name : {"own", "i.gguf", "i.dat"}) {
    const bool is_own = std::string_view(name) == "own", tells_counts = std::string_view(name) != "i.dat";
    const Statistics read = is_own ? read_statistics(scratch_ / name) : read_imatrix(scratch_ / name, tensors);
    ASSERT_EQ(read.sites.size(), written.sites.size()) << name;
    for (const SiteStatistics& site : written.sites) {
      const SiteStatistics& back = same_site(read, site);
      if (tells_counts) {
        EXPECT_EQ(back.count, site.count) << name << " " << site.name();
      }
      for (std::size_t i = 0; i < site.width(); ++i) {
        const float expected = site.count == 0 && !is_own ? 1 : site.mean_square[i];
        EXPECT_NEAR(back.mean_square[i], expected, expected * 0x1p-22) << name << " " << site.name();
      }
    }
  }
  Statistics few = written;
  std::erase_if(few.sites, [](const SiteStatistics& site) { return site.expert == 1; });
  write_imatrix(few, tensors, scratch_ / "i.gguf");
  EXPECT_EQ(read_imatrix(scratch_ / "i.gguf", tensors).find({0, "experts_in", 1})->count, 0u);
  EXPECT_EQ(tensors_of_site(tensors, {0, "experts_in", 1}).size(), 2u);
  EXPECT_EQ(tensors_of_site(tensors, {0, "experts_in", 99}).size(), 0u);
  EXPECT_EQ(tensors_of_site(tensors, {0, "experts_in"}).size(), 0u);
}

// The counts of tokens by expert, and the one line that tells of those that saw too few.
TEST_F(StatisticsFile, WarningsTellOfExpertsInOneLine) {
  const ModelTensors tensors(SourceModel::open(data_directory() / "tiny_mixtral").config());
  Statistics statistics = example(tensors);
  const std::vector<ExpertTokens> layers = expert_tokens(statistics);
  ASSERT_EQ(layers.size(), 1u);
  EXPECT_EQ(layers[0].experts, tensors.network().layer(0).find_site("experts_in")->experts);
  EXPECT_EQ(layers[0].used, layers[0].experts - 1);
  EXPECT_EQ(layers[0].few, layers[0].experts);
  EXPECT_EQ(layers[0].fewest, 0u);
  EXPECT_EQ(layers[0].most, 10 * (layers[0].experts - 1));
  const auto lines_on_experts = [&] {
    return std::ranges::count_if(statistics_warnings(statistics), [](const std::string& line) {
      return line.find("experts were sent too few tokens, 0 the fewest (in layer 0)") != std::string::npos;
    });
  };
  EXPECT_EQ(lines_on_experts(), 1);
  statistics.length = 0;
  EXPECT_EQ(lines_on_experts(), 0);
}

// 30 bytes of a .dat file by hand: one entry "x", 2 calls, values 2 and 4; chunk count and dataset follow.
TEST_F(StatisticsFile, NamesWhatIsWrongWithAFile) {
  const auto refuses = [&](const std::string& name, const std::string& bytes, const char* expected) {
    const auto path = scratch_.path() / name;
    std::ofstream(path, std::ios::binary) << bytes;
    const auto [kind, message] =
        error_of([&] { name.ends_with(".safetensors") ? read_statistics(path) : read_imatrix(path, tensors_); });
    EXPECT_NE(message.find(expected), std::string::npos) << name << ": " << message;
  };
  const auto number = [](std::int32_t value) {
    return std::string(reinterpret_cast<const char*>(&value), sizeof value);
  };
  const float values[] = {2, 4};
  const std::string floats(reinterpret_cast<const char*>(values), sizeof values);
  refuses("cut.dat", number(1) + number(1) + "x" + number(2) + number(2) + floats.substr(0, 6),
          "file ends inside an entry's values");
  refuses("count.dat", number(-5), "the number of entries is not between 0 and");
  refuses("other.dat", number(1) + number(1) + "x" + number(2) + number(2) + floats,
          "names none of this model's weights");
  const std::string name = tensors_.part("q", 0)->gguf_name;
  refuses("width.dat",
          number(1) + number(static_cast<std::int32_t>(name.size())) + name + number(2) + number(2) + floats,
          "made for another model");
  const std::string further = "blk.99.attn_q.weight";
  refuses("further.dat",
          number(1) + number(static_cast<std::int32_t>(further.size())) + further + number(2) + number(2) + floats,
          "made for another model: it has 'blk.99.attn_q.weight'");
  const float bad[] = {-1, 4};
  refuses(
      "negative.dat",
      number(1) + number(1) + "x" + number(2) + number(2) + std::string(reinterpret_cast<const char*>(bad), sizeof bad),
      "negative or not finite");
  write_imatrix(example(tensors_), tensors_, scratch_.path() / "im.gguf");
  std::filesystem::copy_file(data_directory() / "tiny_tied/model.safetensors", scratch_.path() / "model.safetensors");
  EXPECT_NE(
      error_of([&] { read_statistics(scratch_.path() / "model.safetensors"); }).second.find("not a file of statistics"),
      std::string::npos);
}

TEST_F(StatisticsFile, AreToldApartByTheirContent) {
  const Statistics written = example(tensors_);
  write_statistics(written, scratch_ / "own");
  write_imatrix(written, tensors_, scratch_ / "form.gguf");
  write_imatrix(written, tensors_, scratch_ / "form.dat");
  const std::pair<const char*, StatisticsForm> files[] = {{"own", StatisticsForm::own},
                                                          {"form.gguf", StatisticsForm::gguf_imatrix},
                                                          {"form.dat", StatisticsForm::dat_imatrix}};
  for (const auto& [file, form] : files)
    for (const char* name : {"a.gguf", "a.GGUF", "a.dat", "a.imatrix", "a.safetensors", "a.bin", "imatrix"}) {
      std::filesystem::copy_file(scratch_ / file, scratch_ / name, std::filesystem::copy_options::overwrite_existing);
      EXPECT_EQ(statistics_form(scratch_ / name), form) << file << " named " << name;
      const Statistics read =
          form == StatisticsForm::own ? read_statistics(scratch_ / name) : read_imatrix(scratch_ / name, tensors_);
      EXPECT_EQ(read.sites.size(), written.sites.size()) << file << " named " << name;
    }
  for (const char* bytes : {"", "text", "It was a dark and stormy night.", "{\"json\": 1}"}) {
    std::ofstream(scratch_ / "other") << bytes;
    const auto [kind, message] = error_of([&] { statistics_form(scratch_ / "other"); });
    EXPECT_EQ(kind, ErrorKind::unsupported) << bytes;
    EXPECT_NE(message.find("neither statistics nor an importance matrix"), std::string::npos) << message;
  }
}

TEST_F(StatisticsFile, AnyLengthOfTheDatasetsNameIsRead) {
  Statistics written = example(tensors_);
  written.texts = {std::string(100000, 'n')};
  for (const char* name : {"i.gguf", "i.dat"}) {
    write_imatrix(written, tensors_, scratch_ / name);
    EXPECT_EQ(read_imatrix(scratch_ / name, tensors_).texts, written.texts) << name;
  }
}

TEST_F(StatisticsFile, NumbersThatAreMeansStayOnesInTheOlderForm) {
  Statistics written = example(tensors_);
  written.samples = 0;  // not known
  write_imatrix(written, tensors_, scratch_ / "i.dat");
  const Statistics read = read_imatrix(scratch_ / "i.dat", tensors_);
  for (const SiteStatistics& site : written.sites) EXPECT_EQ(same_site(read, site).mean_square, site.mean_square);
}

TEST_F(StatisticsFile, WarningsCountVectorsOnlyWhereTheyAreKnown) {
  Statistics statistics = example(tensors_);
  statistics.sites.resize(1);
  statistics.sites[0].count = 3;
  ASSERT_EQ(statistics_warnings(statistics).size(), 1u);
  EXPECT_NE(statistics_warnings(statistics)[0].find("fewer vectors than columns (3 for "), std::string::npos);
  statistics.length = 0;  // as in the older form, which counts calls
  EXPECT_TRUE(statistics_warnings(statistics).empty());
  statistics.sites[0].mean_square[1] = 0;
  ASSERT_EQ(statistics_warnings(statistics).size(), 1u);
  EXPECT_NE(statistics_warnings(statistics)[0].find("were never used by this text"), std::string::npos);
  statistics.sites.push_back(statistics.sites[0]);
  EXPECT_NE(statistics_warnings(statistics)[0].find("and 1 more sites"), std::string::npos);
}

}  // namespace
}  // namespace nibble
