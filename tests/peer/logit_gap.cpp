// SPDX-License-Identifier: Apache-2.0
//
// How far logits of another program are from ours: a program for tests/peer_logits and tests/clients.
//
//   logit_gap MODEL IDS THEIRS exact|inputs|rounded
//
// THEIRS: little-endian f32 [ids, vocabulary]. exact: inputs of Linears stay f32; inputs: they are rounded as the
// model's file says, keys and values stay f32; rounded: as the model is run by itself. Prints a JSON object: largest
// |ours - theirs| over largest |theirs|, mean divergence KL(theirs || ours), positions, and those whose likeliest token
// differs although theirs leads by more than the tolerance of 5e-3.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/cpu.h"
#include "engine/decoder.h"
#include "nibble/error.h"

namespace nibble {
namespace {

std::vector<double> log_probabilities(std::span<const float> logits) {
  const double top = static_cast<double>(*std::ranges::max_element(logits));
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - top);
  std::vector<double> result;
  for (const float logit : logits) result.push_back(static_cast<double>(logit) - top - std::log(sum));
  return result;
}

struct Gap {
  double largest = 0, scale = 0, divergence = 0;
  std::size_t positions = 0, other_choice = 0;

  void add(std::span<const float> ours, std::span<const float> theirs) {
    for (std::size_t i = 0; i < theirs.size(); ++i) {
      const double difference = std::abs(static_cast<double>(ours[i]) - static_cast<double>(theirs[i]));
      largest = difference <= largest ? largest : difference;  // NaN, too
      scale = std::max(scale, std::abs(static_cast<double>(theirs[i])));
    }
    const std::vector<double> p = log_probabilities(theirs), q = log_probabilities(ours);
    for (std::size_t i = 0; i < p.size(); ++i) divergence += std::exp(p[i]) * (p[i] - q[i]);
    std::vector<float> sorted(theirs.begin(), theirs.end());
    std::ranges::nth_element(sorted, sorted.begin() + 1, std::greater<>());
    const bool leads = static_cast<double>(sorted[0]) - static_cast<double>(sorted[1]) > 5e-3;
    const auto choice = [](std::span<const float> logits) { return std::ranges::max_element(logits) - logits.begin(); };
    other_choice += leads && choice(ours) != choice(theirs) ? 1 : 0;
    ++positions;
  }
};

int run(const std::string& path, const char* ids_file, const char* theirs_file, std::string_view arithmetic) {
  std::ifstream id_text(ids_file), their_bytes(theirs_file, std::ios::binary);
  const std::vector<std::int32_t> ids(std::istream_iterator<std::int32_t>(id_text), {});
  DecoderOptions options;
  if (arithmetic == "exact") options.kernels.activations = ActivationMode::f32;
  if (arithmetic != "rounded") options.kv = KvType::f32;
  Machine machine(best_isa(detect_cpu()), 2);
  Decoder decoder(SourceModel::open(path), options, machine);
  const std::size_t vocabulary = decoder.config().vocab_size;
  std::vector<float> ours(ids.size() * vocabulary), theirs(ours.size());
  KvCache cache = decoder.new_cache(ids.size());
  decoder.forward(cache, ids, LogitsFor::all, ours);
  their_bytes.read(reinterpret_cast<char*>(theirs.data()), static_cast<std::streamsize>(theirs.size() * sizeof(float)));
  if (ids.empty() || !their_bytes || their_bytes.peek() != std::char_traits<char>::eof())
    throw Error(ErrorKind::corrupt, std::string(theirs_file) + ": not the logits of these ids");
  Gap gap;
  for (std::size_t i = 0; i < ids.size(); ++i)
    gap.add(std::span(ours).subspan(i * vocabulary, vocabulary), std::span(theirs).subspan(i * vocabulary, vocabulary));
  std::printf("{\"relative\": %.3g, \"kl\": %.3g, \"positions\": %zu, \"other_choice\": %zu}\n",
              gap.largest / gap.scale, gap.divergence / static_cast<double>(gap.positions), gap.positions,
              gap.other_choice);
  return 0;
}

}  // namespace
}  // namespace nibble

int main(int argc, char** argv) {
  if (argc != 5) return std::fputs("usage: logit_gap MODEL IDS THEIRS exact|inputs|rounded\n", stderr), 2;
  try {
    return nibble::run(argv[1], argv[2], argv[3], argv[4]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "logit_gap: %s\n", error.what());
    return 1;
  }
}
