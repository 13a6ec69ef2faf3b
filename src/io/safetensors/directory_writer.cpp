// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <nlohmann/json.hpp>

#include "base/mapped_file.h"
#include "base/shard_name.h"
#include "io/checkpoint_parts.h"
#include "io/checkpoint_writer.h"
#include "io/layers/writers/layer_writer.h"
#include "io/message_text.h"
#include "io/packing/part_planes.h"
#include "io/safetensors/planar_container.h"
#include "io/safetensors/safetensors_layout.h"
#include "io/streamed_directory.h"
#include "nibble/error.h"

namespace nibble {
namespace {

constexpr std::string_view kIndexName = "model.safetensors.index.json";

struct Shard {
  std::string name;
  std::vector<std::size_t> tensors;  // indices into the plan
  std::uint64_t header_hash = 0;
  std::size_t header_bytes = 0;
  std::uint64_t file_bytes = 0;
};

// Fills shards in the order of the plan. A tensor larger than a shard has one to itself; all that a tensor becomes
// shares a shard.
std::vector<Shard> cut_into_shards(const std::vector<std::vector<LayoutEntry>>& entries, std::uint64_t shard_bytes) {
  std::vector<Shard> shards(1);
  std::uint64_t filled = 0;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    std::uint64_t bytes = 0;
    for (const LayoutEntry& entry : entries[i]) bytes += entry.bytes;
    if (!shards.back().tensors.empty() && (filled > shard_bytes || bytes > shard_bytes - filled)) {
      shards.emplace_back();
      filled = 0;
    }
    shards.back().tensors.push_back(i);
    filled += bytes;
  }
  for (std::size_t i = 0; i < shards.size(); ++i)
    shards[i].name =
        shards.size() == 1 ? "model.safetensors" : shard_name({"model", i + 1, shards.size(), ".safetensors"});
  return shards;
}

class DirectoryWriter final : public StreamedDirectory {
 public:
  DirectoryWriter(const std::filesystem::path& path, const std::vector<SideFile>& side_files,
                  const std::vector<PlannedTensor>& plan, std::uint64_t shard_bytes,
                  const std::vector<SideTensor>& side_tensors, const LayerWriter* layers, const LayerPlan& layer_plan)
      : StreamedDirectory(path, plan),
        layers_(layers),
        layer_plan_(layer_plan),
        entries_(list_entries()),
        shards_(cut_into_shards(entries_, shard_bytes)),
        side_tensors_(side_tensors) {
    std::vector<SafetensorsLayout> layouts;
    for (const Shard& shard : shards_) layouts.push_back(lay_out(shard));
    const std::string config = make_config(side_files);
    open([&] {
      for (std::size_t i = 0; i < shards_.size(); ++i) open_shard(shards_[i], layouts[i]);
      write_side_files(side_files, config);
      if (shards_.size() > 1) write_small_file(kIndexName, index_text());
    });
  }

  std::uint64_t planned_bytes() const noexcept override {
    std::uint64_t total = 0;
    for (const Shard& shard : shards_) total += shard.file_bytes;
    return total;
  }

 private:
  void commit_files() override {
    for (OutputFile& file : files_) file.commit();
  }
  void close_files() override { files_.clear(); }

  // What the tensor has beside codes and grids, under the names of its planes.
  std::vector<SideTensor> parts_of_tensor(std::size_t index) const {
    std::vector<SideTensor> list;
    const PlannedTensor& planned = stream_.planned(index);
    if (!planned.parts) return list;
    for (PartPlane& plane : pack_parts(*planned.parts))
      list.push_back({plane_name(planned.name, plane.suffix), std::move(plane.tensor)});
    return list;
  }

  // Whether the tensor lies as another program's layout has it, and not in planes.
  bool is_packed(std::size_t index) const {
    return layers_ != nullptr && stream_.planned(index).format->info().kind != FormatKind::raw;
  }

  // What each tensor of the plan becomes in files.
  std::vector<std::vector<LayoutEntry>> list_entries() const {
    std::vector<std::vector<LayoutEntry>> lists;
    for (std::size_t i = 0; i < stream_.size(); ++i) {
      const PlannedTensor& planned = stream_.planned(i);
      std::vector<LayoutEntry>& list = lists.emplace_back();
      if (is_packed(i)) {
        for (const LayerTensorPlan& one : layers_->tensors(planned, layer_plan_))
          list.push_back({std::string(module_of(planned.name)) + one.role, one.dtype, one.shape,
                          dtype_size(one.dtype) * checked_elements(one.shape, planned.name)});
        continue;
      }
      for (const PlaneSpec& spec : stream_.specs(i)) {
        // A raw tensor keeps its own shape; planes have theirs.
        const bool raw = planned.format->info().kind == FormatKind::raw;
        list.push_back(
            {plane_name(planned.name, spec.suffix), spec.dtype, raw ? planned.shape : spec.shape, spec.bytes});
      }
      for (const SideTensor& part : parts_of_tensor(i))
        list.push_back({part.name, part.tensor.dtype, part.tensor.shape, part.tensor.bytes.size()});
    }
    return lists;
  }

  SafetensorsLayout lay_out(const Shard& shard) const {
    std::vector<LayoutEntry> entries;
    for (const std::size_t i : shard.tensors) entries.insert(entries.end(), entries_[i].begin(), entries_[i].end());
    if (&shard == &shards_.front())
      for (const SideTensor& side : side_tensors_)
        entries.push_back({side.name, side.tensor.dtype, side.tensor.shape, side.tensor.bytes.size()});
    return lay_out_safetensors(entries, (path_ / shard.name).string());
  }

  void open_shard(Shard& shard, const SafetensorsLayout& layout) {
    OutputFile& file = files_.emplace_back(within(shard.name));
    file.write(layout.header);
    small_bytes_ += layout.header.size();
    shard.header_bytes = layout.header.size();
    shard.header_hash = XXH3_64bits(layout.header.data(), layout.header.size());
    shard.file_bytes = layout.file_bytes;
    auto offset = layout.offsets.begin();
    for (const std::size_t i : shard.tensors) {
      const std::vector<std::uint64_t> own(offset, offset + static_cast<std::ptrdiff_t>(entries_[i].size()));
      offset += static_cast<std::ptrdiff_t>(own.size());
      if (is_packed(i))
        pack_when_whole(i, file, own);
      else
        place_planes(i, file, own);
    }
    if (&shard != &shards_.front()) return;
    for (const SideTensor& side : side_tensors_) {
      file.write_at(*offset++, side.tensor.bytes);
      small_bytes_ += side.tensor.bytes.size();
    }
  }

  void place_planes(std::size_t index, OutputFile& file, std::span<const std::uint64_t> offsets) {
    std::size_t entry = 0;
    for (std::size_t plane = 0; plane < stream_.specs(index).size(); ++plane)
      stream_.place(index, plane, file, offsets[entry++]);
    for (const SideTensor& part : parts_of_tensor(index)) {
      file.write_at(offsets[entry++], part.tensor.bytes);
      small_bytes_ += part.tensor.bytes.size();
    }
  }

  void pack_when_whole(std::size_t index, OutputFile& file, const std::vector<std::uint64_t>& offsets) {
    const PlannedTensor& planned = stream_.planned(index);
    stream_.gather(index, layers_->reads_as(planned), [this, index, &file, offsets](const QuantizedView& whole) {
      const std::string where = fmt::format("{}: tensor {}", path_.string(), quote_name(stream_.planned(index).name));
      const std::vector<Tensor> tensors = layers_->pack(whole, layer_plan_, where);
      std::uint64_t bytes = 0;
      for (std::size_t i = 0; i < offsets.size(); ++i) {
        const LayoutEntry& entry = entries_[index][i];
        if (i >= tensors.size() || tensors[i].dtype != entry.dtype || tensors[i].bytes.size() != entry.bytes)
          throw Error(ErrorKind::internal, fmt::format("{}: {} is not what was planned", where, entry.name));
        file.write_at(offsets[i], tensors[i].bytes);
        bytes += tensors[i].bytes.size();
      }
      return bytes;
    });
  }

  std::string make_config(const std::vector<SideFile>& side_files) const {
    const auto given = std::ranges::find(side_files, "config.json", &SideFile::name);
    if (layers_ != nullptr) return given != side_files.end() ? given->text : "";  // which says it already
    std::vector<PlannedTensor> plan;
    for (std::size_t i = 0; i < stream_.size(); ++i) plan.push_back(stream_.planned(i));
    return write_container_plan(given != side_files.end() ? given->text : "", plan, (path_ / "config.json").string());
  }

  void write_side_files(const std::vector<SideFile>& side_files, const std::string& config) {
    if (!config.empty()) write_small_file("config.json", config);
    for (const SideFile& file : side_files) {
      if (file.name == "config.json") continue;
      const bool taken = file.name == kIndexName || file.name.ends_with(".safetensors") || is_there(within(file.name));
      if (!is_plain_file_name(file.name) || taken)
        throw Error(ErrorKind::invalid_argument,
                    fmt::format("{}: a side file cannot be named {}", path_.string(), quote_name(file.name)));
      write_small_file(file.name, file.text);
    }
  }

  std::string index_text() const {
    nlohmann::json map = nlohmann::json::object();
    std::uint64_t total = 0;
    for (const Shard& shard : shards_)
      for (const std::size_t i : shard.tensors)
        for (const LayoutEntry& entry : entries_[i]) {
          map[entry.name] = shard.name;
          total += entry.bytes;
        }
    for (const SideTensor& side : side_tensors_) {
      map[side.name] = shards_.front().name;
      total += side.tensor.bytes.size();
    }
    return nlohmann::json{{"metadata", {{"total_size", total}}}, {"weight_map", std::move(map)}}.dump(2) + "\n";
  }

  void verify(ThreadPool* pool) const override {
    for (const Shard& shard : shards_) {
      const MappedFile mapped(within(shard.name));
      if (mapped.bytes().size() != shard.file_bytes ||
          XXH3_64bits(mapped.bytes().data(), shard.header_bytes) != shard.header_hash)
        throw Error(ErrorKind::internal,
                    fmt::format("{}: read back differs from what was written; the disk may be failing",
                                (path_ / shard.name).string()));
    }
    const Checkpoint written = Checkpoint::open(temporary_path());
    stream_.verify(written, pool, side_tensors_.size());
    for (const SideTensor& side : side_tensors_) {
      const StoredTensor* const stored = written.find(side.name);
      if (stored == nullptr || !std::ranges::equal(stored->data, side.tensor.bytes))
        throw Error(ErrorKind::internal,
                    fmt::format("{}: tensor {}: read back differs from what was written; the disk may be failing",
                                path_.string(), quote_name(side.name)));
    }
  }

  const LayerWriter* layers_;  // null: planes, as the planar container has them
  LayerPlan layer_plan_;
  std::vector<std::vector<LayoutEntry>> entries_;  // of each tensor of the plan
  std::vector<Shard> shards_;
  std::vector<SideTensor> side_tensors_;
  std::deque<OutputFile> files_;  // one a shard
};

}  // namespace

std::unique_ptr<CheckpointWriter> make_directory_writer(const std::filesystem::path& path,
                                                        const std::vector<SideFile>& side_files,
                                                        const std::vector<PlannedTensor>& plan,
                                                        std::uint64_t shard_bytes,
                                                        const std::vector<SideTensor>& side_tensors) {
  return std::make_unique<DirectoryWriter>(path, side_files, plan, shard_bytes, side_tensors, nullptr, LayerPlan{});
}

std::unique_ptr<CheckpointWriter> make_layer_directory_writer(const std::filesystem::path& path,
                                                              const std::vector<SideFile>& side_files,
                                                              const std::vector<PlannedTensor>& plan,
                                                              std::uint64_t shard_bytes,
                                                              const std::vector<SideTensor>& side_tensors,
                                                              const LayerWriter& layers, const LayerPlan& layer_plan) {
  return std::make_unique<DirectoryWriter>(path, side_files, plan, shard_bytes, side_tensors, &layers, layer_plan);
}

}  // namespace nibble
