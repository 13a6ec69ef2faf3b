// SPDX-License-Identifier: Apache-2.0
//
// What a detector finds, and how well: boxes of two outputs, scores [candidates, kinds] and places [candidates, 4],
// held against boxes that are right, or against those that another file of the same net finds. Average precision is
// COCO's: detections in the order of their scores, each matched to the box of its kind and sample that it overlaps most
// and no better one has taken; precision at 101 recalls, mean over kinds (Lin et al., Microsoft COCO, arXiv:1405.0312).
//
//   const std::vector<DetectedBox> found = detections_of(scores, places, 2, {.least_score = 0.5}, sample);
//   const double map50 = mean_average_precision(found, truth, 0.5);
#pragma once

#include <array>
#include <cstddef>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "pipeline/net/judge_net.h"

namespace nibble {

struct DetectedBox {
  std::size_t sample = 0, kind = 0;
  double score = 1;
  std::array<double, 4> corners{};  // x and y of one, and of the opposite
};

struct DetectionRule {
  bool has_centers = false;    // places are a center, a width and a height; else two corners
  bool has_background = true;  // kind 0 is nothing, where there are several
  double least_score = 0.05;
  double overlap = 0.5;  // of two boxes of a kind that overlap more the better stays
};

// The share of what two boxes cover together that both cover.
double overlap_of(const std::array<double, 4>& a, const std::array<double, 4>& b);

// Of one sample. scores: [candidates, kinds]; places: [candidates, 4].
std::vector<DetectedBox> detections_of(std::span<const float> scores, std::span<const float> places, std::size_t kinds,
                                       const DetectionRule& rule, std::size_t sample);

// At an overlap that a match has at least; nothing: there is no box that is right.
std::optional<double> mean_average_precision(std::span<const DetectedBox> found, std::span<const DetectedBox> truth,
                                             double overlap);
// The mean over overlaps of 0.5, 0.55, ... 0.95.
std::optional<double> coco_precision(std::span<const DetectedBox> found, std::span<const DetectedBox> truth);

struct DetectionJudgeRequest {
  std::vector<std::string> samples;
  std::string truth;  // .npy [boxes, 6]: sample from 0, kind, x, y, x, y; empty: none
  DetectionRule rule;
  double sure = 0.5;  // the score from which on what the original finds counts as right for the other
};

struct DetectionVerdict {
  struct Precision {
    double at_50 = 0, coco = 0;
  };
  std::size_t samples = 0, found_by_original = 0, found = 0;  // with a score of `sure` at least
  std::optional<Precision> original, candidate;               // by the truth
  std::optional<double> same_50, same_90;                     // the candidate's, by what the original is sure of
};

// Error(unusable_input): outputs that are not scores and places of the same candidates; truth that is none.
DetectionVerdict judge_detections(const std::filesystem::path& candidate, const std::filesystem::path& original,
                                  const NetOptions& options, const DetectionJudgeRequest& request, Machine& machine);

}  // namespace nibble
