// SPDX-License-Identifier: Apache-2.0
#include "pipeline/quantize/part_work.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/file_lock.h"
#include "base/output_file.h"
#include "nibble/error.h"
#include "nibble/model.h"
#include "pipeline/export/container.h"
#include "pipeline/quantize/activation_plan.h"
#include "pipeline/quantize/no_checkpoint.h"
#include "pipeline/quantize/quantize_layers.h"
#include "pipeline/quantize/resume_key.h"
#include "quantize/transform/transform.h"

namespace nibble {
namespace {

using Json = nlohmann::ordered_json;

std::string manifest_name(const JobPart& part) { return fmt::format("part-{}-of-{}.json", part.number, part.count); }

std::string hash_text(std::uint64_t hash) { return fmt::format("{:016x}", hash); }

// What an ended part says.
struct PartManifest {
  JobPart part;
  std::map<std::string, std::string> hashes;  // by piece
};

void write_manifest(const WorkDirectory& work, const JobPart& part, const std::vector<std::string>& pieces) {
  Json hashes = Json::object();
  for (const std::string& piece : pieces) {
    const std::optional<std::uint64_t> hash = work.hash_of(piece);
    if (!hash)
      throw Error(ErrorKind::io, fmt::format("a piece of this part is not there any more; run the part again: {}",
                                             (work.path() / piece).string()));
    hashes[piece] = hash_text(*hash);
  }
  const Json manifest = {{"nibble", version()}, {"part", job_part_text(part)}, {"pieces", hashes}};
  OutputFile file(work.path() / manifest_name(part));
  file.write(manifest.dump(1) + "\n");
  file.commit();
}

PartManifest read_manifest(const std::filesystem::path& path) {
  try {
    std::ifstream file(path, std::ios::binary);
    const Json json = Json::parse(file);
    return {parse_job_part(json.at("part").get<std::string>()),
            json.at("pieces").get<std::map<std::string, std::string>>()};
  } catch (const std::exception& error) {
    throw Error(ErrorKind::corrupt, fmt::format("what a part says of its pieces cannot be read; run the part again: "
                                                "{}: {}",
                                                path.string(), error.what()));
  }
}

std::vector<PartManifest> read_manifests(const std::filesystem::path& directory) {
  std::vector<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::directory_iterator(directory))
    if (is_part_manifest(entry.path())) paths.push_back(entry.path());
  std::ranges::sort(paths);
  std::vector<PartManifest> manifests;
  for (const std::filesystem::path& path : paths) manifests.push_back(read_manifest(path));
  return manifests;
}

// "2 of 8 parts have not ended: 2/8, 5/8": of the largest number of parts that any of them knows.
std::string missing_parts(const std::vector<PartManifest>& manifests) {
  constexpr std::uint64_t kMostListed = 8;
  std::uint64_t count = 0;
  for (const PartManifest& one : manifests) count = std::max(count, one.part.count);
  if (count == 0) return "no part has ended";
  std::string missing;
  std::uint64_t num_missing = 0;
  for (std::uint64_t number = 1; number <= count; ++number) {
    if (std::ranges::find(manifests, JobPart{number, count}, &PartManifest::part) != manifests.end()) continue;
    if (++num_missing <= kMostListed) missing += fmt::format("{}{}/{}", missing.empty() ? "" : ", ", number, count);
  }
  if (num_missing == 0) return fmt::format("all {} parts had ended; run the one whose piece it is again", count);
  return fmt::format("{} of {} parts have not ended: {}{}", num_missing, count, missing,
                     num_missing > kMostListed ? ", ..." : "");
}

}  // namespace

void require_shareable(const QuantizePlan& plan, const QuantizeModelOptions& options) {
  if (needs_calibration(plan, options) && options.calibration.statistics == nullptr)
    throw Error(ErrorKind::invalid_argument,
                "a part does not know what text becomes in the layers of others; calibrate once, with full "
                "moments, and give all parts the statistics",
                "calibration");
  if (fits_grids_afterwards(plan, options))
    throw Error(ErrorKind::invalid_argument,
                "scales that move into the weights change what static grids are of; this is no work for parts",
                "transform");
  if (!options.transform.empty() && find_transform(options.transform).folds())
    throw Error(ErrorKind::invalid_argument,
                "a rotation that goes into the weights makes another model of all of them first; this is no work for "
                "parts",
                "transform");
}

PartSummary write_part(const JobPart& part, const SourceModel& source, const QuantizePlan& plan,
                       const QuantizeModelOptions& options, const std::string& source_hash, Machine& machine,
                       const ProgressCallback& progress) {
  const PartShare share(plan, options, part);
  WorkDirectory work(unfinished_work(options.output), resume_key(options, plan.container->name(), source_hash),
                     WorkDirectory::Use::part);
  const std::filesystem::path lock_path = work.path() / fmt::format("lock-{}-of-{}", part.number, part.count);
  const std::optional<FileLock> lock = FileLock::take(lock_path, FileLock::Kind::exclusive);
  if (!lock)
    throw Error(ErrorKind::io, fmt::format("another process makes part {}; leave it alone, or end it first: {}",
                                           job_part_text(part), lock_path.string()));
  NoCheckpoint nothing;
  const bool calibrated = needs_calibration(plan, options);
  std::uint64_t work_units = 0;
  for (std::size_t i = 0; i < plan.tensors.size(); ++i)
    if (share.touches(i))
      work_units += plan.tensors[i].rows * plan.tensors[i].cols * progress_weight(plan.tensors[i].role, calibrated);
  ProgressMeter meter(progress, "quantize", work_units,
                      "quantize was cancelled; the same command goes on where it stopped");
  const auto watch = meter.watch(machine.pool);
  BandWriter bands(nothing, false);
  TensorOutput output(plan, bands, meter, {.work = &work, .share = &share}, machine);
  PartSummary summary{.part = part, .directory = work.path()};
  const std::vector<std::string> pieces = output.piece_names();
  // Under this part's lock, for process numbers say nothing where each container counts its own.
  work.remove_leftovers(pieces);
  work.remove_leftovers(std::vector{manifest_name(part)});
  for (const std::string& piece : pieces) {
    work.drop_if_damaged(piece);
    if (work.has(piece)) ++summary.found;
  }
  bool is_complete = summary.found == pieces.size();
  // A matrix that was written just before the end has not been measured.
  for (std::size_t i = 0; i < plan.tensors.size() && calibrated && is_complete; ++i)
    is_complete = !share.owns(i, {}) || output.is_done(i);
  if (is_complete) {
    meter.advance(work_units, "");
  } else if (calibrated) {
    LayerQuantizer(source, plan, options, output, machine, progress).run();
  } else {
    meter.advance(0);
    for (std::size_t i = 0; i < plan.tensors.size(); ++i) write_alone(i, plan, options, source, output, machine);
  }
  bands.finish();
  source.require_unchanged();
  write_manifest(work, part, pieces);
  for (const std::string& piece : pieces) summary.bytes += std::filesystem::file_size(work.path() / piece);
  summary.pieces = pieces.size();
  return summary;
}

void require_pieces(const WorkDirectory& work, const TensorOutput& output) {
  const std::vector<PartManifest> manifests = read_manifests(work.path());
  const std::vector<std::string> pieces = output.piece_names();
  std::vector<std::string> missing;
  for (const std::string& piece : pieces) {
    const std::optional<std::uint64_t> hash = work.hash_of(piece);
    if (!hash) {
      missing.push_back(piece);
      continue;
    }
    for (const PartManifest& one : manifests)
      if (const auto said = one.hashes.find(piece); said != one.hashes.end() && said->second != hash_text(*hash))
        throw Error(ErrorKind::corrupt, fmt::format("a piece is another than part {} has made; run that part again: {}",
                                                    job_part_text(one.part), (work.path() / piece).string()));
  }
  if (missing.empty()) return;
  throw Error(ErrorKind::not_found,
              fmt::format("{}: {} of {} pieces are not there yet, the first of them {}; {}", work.path().string(),
                          missing.size(), pieces.size(), missing.front(), missing_parts(manifests)));
}

}  // namespace nibble
