// SPDX-License-Identifier: Apache-2.0
#include "io/tensor_stream.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_set>

#include "base/utf8.h"
#include "io/message_text.h"
#include "tensor/shape.h"

namespace nibble {
namespace {

constexpr std::size_t kVerifyChunk = std::size_t{8}
                                     << 20;  // bytes of a mapped file that stay in memory while verifying

// Of all numbers that a tensor decodes to.
std::uint64_t checksum_of_numbers(const TensorSource& source) {
  std::uint64_t checksum = 0;
  std::vector<float> row(static_cast<std::size_t>(source.cols()));
  for (std::uint64_t r = 0; r < source.rows(); ++r) {
    source.decode_row(r, row);
    checksum = XXH3_64bits_withSeed(row.data(), row.size() * sizeof(float), checksum);
  }
  return checksum;
}

}  // namespace

TensorStream::TensorStream(const std::vector<PlannedTensor>& plan, std::string output) : output_(std::move(output)) {
  std::unordered_set<std::string_view> names;
  for (const PlannedTensor& planned : plan) {
    const std::string where = fmt::format("{}: tensor {}", output_, quote_name(planned.name));
    const auto refuse = [&where](std::string_view why) {
      throw Error(ErrorKind::invalid_argument, fmt::format("{}: {}", where, why));
    };
    if (planned.name.empty()) refuse("has no name");
    if (find_invalid_utf8(planned.name) != std::string::npos) refuse("name is not UTF-8");
    if (!names.insert(planned.name).second) refuse("is planned twice");
    if (!planned.format) refuse("has no format");
    if (checked_elements(planned.shape, where) == 0) refuse("has no elements");
    Planned tensor{planned, matrix_size(planned.shape), {}, {}, 0, planned.format->name()};
    try {
      tensor.specs = planned.format->planes(tensor.size.rows, tensor.size.cols);
    } catch (const Error& e) {
      throw Error(e.kind(), fmt::format("{}: {}", where, e.what()));
    }
    if (planned.parts) {
      if (planned.format->info().kind == FormatKind::raw && !parts_of(*planned.parts).empty())
        refuse("is plain and cannot have parts");
      if (const auto defect = find_parts_defect(*planned.parts, tensor.size.rows, tensor.size.cols)) refuse(*defect);
    }
    tensor.planes.resize(tensor.specs.size());
    tensors_.push_back(std::move(tensor));
  }
}

std::uint64_t TensorStream::bytes(std::size_t index) const {
  std::uint64_t sum = 0;
  for (const PlaneSpec& spec : tensors_[index].specs) sum += spec.bytes;
  return sum;
}

void TensorStream::place(std::size_t index, std::size_t plane, OutputFile& file, std::uint64_t offset) {
  tensors_[index].planes[plane].file = &file;
  tensors_[index].planes[plane].offset = offset;
}

void TensorStream::gather(std::size_t index, std::string reads_as, WholeUse use) {
  tensors_[index].reads_as = std::move(reads_as);
  tensors_[index].use = std::move(use);
}

void TensorStream::keep(Planned& tensor, const QuantizedView& band) {
  if (tensor.rows_written == 0) tensor.room = {tensor.planned.format, tensor.size.rows, tensor.size.cols};
  for (std::size_t i = 0; i < tensor.specs.size(); ++i) {
    const PlaneSpec& spec = tensor.specs[i];
    if (tensor.rows_written == 0 || spec.row_bytes != 0)
      std::ranges::copy(band.planes[i],
                        tensor.room.planes[i].begin() +
                            static_cast<std::ptrdiff_t>(tensor.rows_written / spec.row_unit * spec.row_bytes));
  }
}

void TensorStream::hand_over(Planned& tensor) {
  const std::string where = fmt::format("{}: tensor {}", output_, quote_name(tensor.planned.name));
  std::vector<std::span<const std::byte>> planes(tensor.room.planes.begin(), tensor.room.planes.end());
  QuantizedView whole = make_view(tensor.planned.format, tensor.size.rows, tensor.size.cols, std::move(planes), where);
  whole.parts = tensor.planned.parts;
  if (tensor.reads_as != tensor.planned.format->name()) tensor.numbers_checksum = checksum_of_numbers(whole);
  bytes_written_ += tensor.use(whole);
  tensor.room = {};
}

void TensorStream::require_band_fits(const Planned& tensor, const QuantizedView& band) const {
  const auto refuse = [&](const std::string& why) {
    throw Error(ErrorKind::internal,
                fmt::format("{}: tensor {}: band {}", output_, quote_name(tensor.planned.name), why));
  };
  if (!band.format || band.format->name() != tensor.planned.format->name())
    refuse(fmt::format("should be in {} but is in {}", tensor.planned.format->name(),
                       band.format ? band.format->name() : "no format"));
  if (band.parts && band.parts != tensor.planned.parts)
    require_only(parts_of(*band.parts), {}, "a band whose tensor was planned without",
                 fmt::format("{}: tensor {}", output_, quote_name(tensor.planned.name)));
  if (band.cols != tensor.size.cols)
    refuse(fmt::format("should have {} columns but has {}", tensor.size.cols, band.cols));
  if (band.rows > tensor.size.rows - tensor.rows_written)
    refuse(fmt::format("has more rows than are left, {}: {}", tensor.size.rows - tensor.rows_written, band.rows));
  if (band.planes.size() != tensor.specs.size())
    refuse(fmt::format("should have {} planes but has {}", tensor.specs.size(), band.planes.size()));
  for (std::size_t i = 0; i < tensor.specs.size(); ++i) {
    const PlaneSpec& spec = tensor.specs[i];
    const std::uint64_t units = (band.rows + spec.row_unit - 1) / spec.row_unit;
    const std::uint64_t bytes = spec.row_bytes != 0 ? spec.row_bytes * units : spec.bytes;
    if (tensor.rows_written % spec.row_unit != 0)
      refuse(fmt::format("begins between rows that share {} bytes of plane {}", spec.row_bytes, i));
    if (band.planes[i].size() != bytes)
      refuse(fmt::format("should have {} bytes in plane {} but has {}", bytes, i, band.planes[i].size()));
  }
}

void TensorStream::write_rows(std::size_t index, const QuantizedView& band) {
  if (index >= tensors_.size())
    throw Error(ErrorKind::internal, fmt::format("{}: no tensor was planned with index {}", output_, index));
  Planned& tensor = tensors_[index];
  if (band.rows == 0) return;
  require_band_fits(tensor, band);
  const bool first = tensor.rows_written == 0, last = tensor.rows_written + band.rows == tensor.size.rows;
  for (std::size_t i = 0; i < tensor.specs.size(); ++i) {
    Plane& plane = tensor.planes[i];
    const PlaneSpec& spec = tensor.specs[i];
    if (first) {
      plane.hash.reset(XXH3_createState());
      XXH3_64bits_reset(plane.hash.get());
    }
    if (first || spec.row_bytes != 0) {
      XXH3_64bits_update(plane.hash.get(), band.planes[i].data(), band.planes[i].size());
      if (!tensor.use) {
        plane.file->write_at(plane.offset + tensor.rows_written / spec.row_unit * spec.row_bytes, band.planes[i]);
        bytes_written_ += band.planes[i].size();
      }
    }
    if (last) {
      plane.checksum = XXH3_64bits_digest(plane.hash.get());
      plane.hash.reset();
    }
  }
  if (tensor.use) keep(tensor, band);
  tensor.rows_written += band.rows;
  if (tensor.use && last) hand_over(tensor);
}

void TensorStream::require_complete() const {
  for (const Planned& tensor : tensors_)
    if (tensor.rows_written != tensor.size.rows)
      throw Error(ErrorKind::internal,
                  fmt::format("{}: tensor {} is not complete: {} of {} rows were written", output_,
                              quote_name(tensor.planned.name), tensor.rows_written, tensor.size.rows));
}

void TensorStream::verify(const Checkpoint& written, ThreadPool* pool, std::size_t others) const {
  if (written.tensors().size() != tensors_.size() + others)
    throw Error(ErrorKind::internal, fmt::format("{}: read back {} tensors but wrote {}", output_,
                                                 written.tensors().size(), tensors_.size() + others));
  const auto verify_some = [&](std::size_t begin, std::size_t end, std::size_t) {
    for (std::size_t i = begin; i < end; ++i) verify_tensor(written, tensors_[i]);
  };
  if (pool != nullptr)
    pool->parallel_for(tensors_.size(), 1, verify_some);
  else
    verify_some(0, tensors_.size(), 0);
}

void TensorStream::refuse_read(const Planned& tensor, std::string_view why) const {
  throw Error(ErrorKind::internal,
              fmt::format("{}: tensor {}: read back {}", output_, quote_name(tensor.planned.name), why));
}

void TensorStream::verify_tensor(const Checkpoint& written, const Planned& tensor) const {
  const StoredTensor* stored = written.find(tensor.planned.name);
  if (!stored) refuse_read(tensor, "is missing");
  if (!is_same_shape(stored->shape, tensor.planned.shape)) refuse_read(tensor, "has another shape");
  if (!stored->values.format() || stored->values.format()->name() != tensor.reads_as)
    refuse_read(tensor, "has another format");
  if (tensor.reads_as != tensor.planned.format->name()) {
    if (checksum_of_numbers(stored->values) != tensor.numbers_checksum) refuse_read(tensor, "has other numbers");
    return;
  }
  const TensorParts none;
  if ((stored->values.parts() ? *stored->values.parts() : none) !=
      (tensor.planned.parts ? *tensor.planned.parts : none))
    refuse_read(tensor, "has other parts");
  verify_planes(written, *stored, tensor);
}

void TensorStream::verify_planes(const Checkpoint& written, const StoredTensor& stored, const Planned& tensor) const {
  const QuantizedView* const view = stored.values.planes();
  if (view == nullptr && !tensor.use) refuse_read(tensor, "has no planes");
  QuantizedTensor room;  // where planes are made of what lies in the file
  if (view == nullptr) stored.values.read_rows(0, tensor.size.rows, room);
  const std::size_t num_planes = view != nullptr ? view->planes.size() : room.planes.size();
  if (num_planes != tensor.planes.size()) refuse_read(tensor, "has another number of planes");
  for (std::size_t i = 0; i < num_planes; ++i) {
    const std::span<const std::byte> bytes = view != nullptr ? view->planes[i] : std::span(room.planes[i]);
    const std::unique_ptr<XXH3_state_t, FreeState> hash(XXH3_createState());
    XXH3_64bits_reset(hash.get());
    for (std::size_t at = 0; at < bytes.size(); at += kVerifyChunk) {
      const auto chunk = bytes.subspan(at, std::min(kVerifyChunk, bytes.size() - at));
      XXH3_64bits_update(hash.get(), chunk.data(), chunk.size());
      if (view != nullptr) written.release(chunk);
    }
    if (XXH3_64bits_digest(hash.get()) != tensor.planes[i].checksum)
      refuse_read(tensor, "differs from what was written; the disk may be failing");
  }
  if (view == nullptr)
    for (const std::span<const std::byte> bytes : stored.values.stored_bytes()) written.release(bytes);
}

}  // namespace nibble
