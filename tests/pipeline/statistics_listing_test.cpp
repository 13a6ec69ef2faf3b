// SPDX-License-Identifier: Apache-2.0
//
// What a file tells of what calibration saw, in all the forms that are written.
#include "pipeline/tell/statistics_listing.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>

#include "base/scratch_directory.h"
#include "model/tiny_models.h"
#include "pipeline/quantize/calibrate_model.h"

namespace nibble {
namespace {

// Of five experts the third is sent nothing.
constexpr std::uint64_t kTokens[] = {30, 700, 0, 20, 50};

class Listing : public testing::Test {
 protected:
  Listing() {
    seen_.texts = {"some.txt"};
    seen_.samples = 8;
    seen_.length = 50;
    for (const Site& site : source_.parts().network().layer(1).sites)
      for (std::int64_t e = site.first_expert(); e < site.end_expert(); ++e) {
        SiteStatistics& one = seen_.sites.emplace_back();
        static_cast<SiteKey&>(one) = {1, site.name, e};
        one.count = e < 0 ? 400 : kTokens[e];
        one.mean_square.assign(site.width, one.count == 0 ? 0.0F : 0.5F);
        if (e < 0) one.second_moment.assign(site.width * site.width, 0.25F);
      }
    save_statistics(seen_, source_, scratch_ / "s.stats");
    save_statistics(seen_, source_, scratch_ / "i.gguf");
    save_statistics(seen_, source_, scratch_ / "i.dat");
  }
  static const StatisticsEntry& entry(const StatisticsListing& listing, std::string_view name) {
    const auto found = std::ranges::find(listing.entries, name, &StatisticsEntry::name);
    EXPECT_NE(found, listing.entries.end()) << name;
    return *found;
  }

  ScratchDirectory scratch_;
  SourceModel source_ = SourceModel::open(data_directory() / "tiny_mixtral");
  Statistics seen_;
};

TEST_F(Listing, TellsOfSitesAndOfTheTokensOfExperts) {
  for (const char* const name : {"s.stats", "i.gguf"}) {
    EXPECT_TRUE(is_statistics(scratch_ / name)) << name;
    const StatisticsListing listing = list_statistics(scratch_ / name);
    EXPECT_EQ(listing.texts, seen_.texts) << name;
    EXPECT_EQ(listing.samples, 8u) << name;
    EXPECT_EQ(listing.length, 50u) << name;
    EXPECT_EQ(listing.bytes, std::filesystem::file_size(scratch_ / name)) << name;
    const bool is_own = name[0] == 's';
    const StatisticsEntry& experts = entry(listing, is_own ? "layers.1.experts_out" : "blk.1.ffn_down_exps.weight");
    EXPECT_EQ(experts.columns, 48u) << name;
    EXPECT_EQ(experts.experts, 5u) << name;
    EXPECT_EQ(experts.fewest, 0u) << name;
    EXPECT_EQ(experts.median, 30u) << name;
    EXPECT_EQ(experts.most, 700u) << name;
    EXPECT_FALSE(experts.has_second_moment) << name;
    const StatisticsEntry& whole = entry(listing, is_own ? "layers.1.attention_in" : "blk.1.attn_q.weight");
    EXPECT_EQ(whole.experts, 0u) << name;
    EXPECT_EQ(whole.median, 400u) << name;
    EXPECT_EQ(whole.has_second_moment, is_own) << name;
    ASSERT_EQ(listing.experts.size(), 1u) << name;
    const ExpertTokens& layer = listing.experts.front();
    EXPECT_EQ(layer.layer, 1) << name;
    EXPECT_EQ(layer.experts, 5u) << name;
    EXPECT_EQ(layer.used, 4u) << name;
    EXPECT_EQ(layer.unused, std::vector<std::uint64_t>{2}) << name;
    EXPECT_EQ(layer.few, 4u) << name;  // of 64 columns
    EXPECT_EQ(layer.fewest, 0u) << name;
    EXPECT_EQ(layer.median, 30u) << name;
    EXPECT_EQ(layer.most, 700u) << name;
  }
}

// The older form has one count for all, and says nowhere where one expert ends.
TEST_F(Listing, TellsLessOfTheOlderForm) {
  EXPECT_TRUE(is_statistics(scratch_ / "i.dat"));
  const StatisticsListing listing = list_statistics(scratch_ / "i.dat");
  EXPECT_EQ(listing.form, "importance matrix (.dat)");
  EXPECT_EQ(entry(listing, "blk.1.ffn_down_exps.weight").columns, 5 * 48u);
  EXPECT_EQ(entry(listing, "blk.1.ffn_down_exps.weight").experts, 0u);
  EXPECT_TRUE(listing.experts.empty());
}

TEST_F(Listing, KnowsWhatHoldsNoStatistics) {
  EXPECT_FALSE(is_statistics(data_directory() / "tiny_mixtral"));
  EXPECT_FALSE(is_statistics(data_directory() / "tiny_mixtral/model.safetensors"));
  EXPECT_FALSE(is_statistics(scratch_ / "nowhere"));
  std::ofstream(scratch_ / "cut.gguf") << "GGUF";
  EXPECT_FALSE(is_statistics(scratch_ / "cut.gguf"));
  std::filesystem::copy_file(scratch_ / "i.dat", scratch_ / "i.bin");
  EXPECT_FALSE(is_statistics(scratch_ / "i.bin"));
  EXPECT_TRUE(is_statistics(scratch_ / "i.gguf"));
}

}  // namespace
}  // namespace nibble
