// SPDX-License-Identifier: Apache-2.0
//
// What a detector finds and how well, by numbers of COCO's own tool (tools/reference_detections.py).
#include "pipeline/net/detections.h"

#include <gtest/gtest.h>

namespace nibble {
namespace {

struct Boxes {
  std::vector<DetectedBox> truth, found;

  // The script's, number by number.
  Boxes() {
    std::uint32_t state = 1;
    const auto draw = [&] {
      state = state * 1664525u + 1013904223u;
      return static_cast<double>(state) / 4294967296.0;
    };
    const auto box = [&] {
      const double x = 80 * draw(), y = 80 * draw();
      const double right = x + 5 + 20 * draw(), bottom = y + 5 + 20 * draw();
      return std::array<double, 4>{x, y, right, bottom};
    };
    for (std::size_t sample = 0; sample < 5; ++sample)
      for (std::size_t kind = 1; kind < 4; ++kind) {
        for (int i = 0; i < 4; ++i) {
          std::array<double, 4> corners = box();
          truth.push_back({sample, kind, 1, corners});
          if (draw() >= 0.8) continue;
          for (double& corner : corners) corner += 4 * (draw() - 0.5);
          found.push_back({sample, kind, 0.3 + 0.7 * draw(), corners});
        }
        for (int i = 0; i < 3; ++i) {
          const std::array<double, 4> corners = box();
          found.push_back({sample, kind, 0.8 * draw(), corners});
        }
      }
  }
};

TEST(Detections, PrecisionIsCocos) {
  const Boxes boxes;
  ASSERT_EQ(boxes.truth.size(), 60u);
  ASSERT_EQ(boxes.found.size(), 93u);
  EXPECT_NEAR(*mean_average_precision(boxes.found, boxes.truth, 0.5), 0.6565696516064955, 1e-12);
  EXPECT_NEAR(*mean_average_precision(boxes.found, boxes.truth, 0.75), 0.2061482150721338, 1e-12);
  EXPECT_NEAR(*coco_precision(boxes.found, boxes.truth), 0.27384901126402855, 1e-12);
  EXPECT_EQ(*mean_average_precision(boxes.truth, boxes.truth, 0.9), 1);
  EXPECT_FALSE(mean_average_precision(boxes.found, {}, 0.5));
  EXPECT_FALSE(coco_precision(boxes.found, {}));
}

TEST(Detections, OfBoxesThatOverlapTheBetterStays) {
  const std::vector<float> scores = {0.1F, 0.9F, 0.2F, 0.8F, 0.3F, 0.7F, 0.99F, 0.01F};
  const std::vector<float> corners = {0, 0, 10, 10, 1, 0, 11, 10, 20, 0, 30, 10, 0, 0, 1, 1};
  const std::vector<DetectedBox> found = detections_of(scores, corners, 2, {}, 3);
  ASSERT_EQ(found.size(), 2u);  // the second overlaps the first by 9 of 11; the last is background
  EXPECT_EQ(found[0].corners, (std::array<double, 4>{0, 0, 10, 10}));
  EXPECT_EQ(found[1].corners, (std::array<double, 4>{20, 0, 30, 10}));
  EXPECT_EQ(found[0].kind, 1u);
  EXPECT_EQ(found[0].sample, 3u);
  EXPECT_EQ(detections_of(scores, corners, 2, {.overlap = 0.9}, 0).size(), 3u);
  EXPECT_EQ(detections_of(scores, corners, 2, {.has_background = false, .least_score = 0.5}, 0).size(), 3u);
  const std::vector<float> centers = {5, 5, 10, 10, 6, 5, 10, 10, 25, 5, 10, 10, 0.5F, 0.5F, 1, 1};
  const std::vector<DetectedBox> likewise = detections_of(scores, centers, 2, {.has_centers = true}, 3);
  ASSERT_EQ(likewise.size(), 2u);
  EXPECT_EQ(likewise[1].corners, found[1].corners);
}

TEST(Detections, OverlapIsASharePerArea) {
  EXPECT_DOUBLE_EQ(overlap_of({0, 0, 10, 10}, {1, 0, 11, 10}), 90.0 / 110);
  EXPECT_EQ(overlap_of({0, 0, 1, 1}, {1, 0, 2, 1}), 0);
  EXPECT_EQ(overlap_of({0, 0, 1, 1}, {0, 0, 1, 1}), 1);
}

}  // namespace
}  // namespace nibble
