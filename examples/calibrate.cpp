// SPDX-License-Identifier: Apache-2.0
//
// nibble/calibrate.h: what a model's layers see while it reads, kept in a file for any number of quantizations.
//
//   calibrate MODEL TEXT STATISTICS
#include <nibble/calibrate.h>

#include <fstream>
#include <iostream>
#include <iterator>

namespace {

std::string read_file(const char* path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  const nibble::Model model = nibble::open_model(argv[1]);

  // 16 windows of 128 tokens are enough to show it; 128 of 512 are what one would take.
  nibble::CalibrateRequest request;
  request.sampling = {.samples = 16, .length = 128, .seed = 1};
  request.second_moments = true;  // for methods that look at pairs of columns: gptq, awq
  const nibble::Calibrated seen = nibble::calibrate(model, {{"text", read_file(argv[2])}}, request);

  for (const nibble::SiteAdequacy& site : seen.sites)
    std::cout << site.site << ": " << site.count << " vectors of " << site.width << ", strongest column "
              << site.peak_ratio << " times the median one\n";
  for (const std::string& warning : seen.warnings) std::cout << "warning: " << warning << '\n';

  // A name that ends in .gguf or .dat would make llama.cpp's importance matrix of it.
  nibble::save_statistics(seen.statistics, model, argv[3]);
  const nibble::CalibrationStatistics again = nibble::load_statistics(argv[3], model);
  std::cout << again.samples() << " windows, " << again.sites().size() << " sites\n";
  return again.sites() == seen.statistics.sites() && again.has_second_moments() ? 0 : 1;
}
