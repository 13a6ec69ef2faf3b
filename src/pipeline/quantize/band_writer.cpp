// SPDX-License-Identifier: Apache-2.0
#include "pipeline/quantize/band_writer.h"

#include <system_error>

namespace nibble {

BandWriter::BandWriter(CheckpointWriter& writer, bool concurrent) : writer_(writer) {
  if (!concurrent) return;
  try {
    thread_ = std::thread([this] { work(); });
  } catch (const std::system_error&) {
    // The system gives no thread; write() writes.
  }
}

BandWriter::~BandWriter() {
  if (!thread_.joinable()) return;
  {
    const std::scoped_lock lock(mutex_);
    stopping_ = true;
    waiting_.reset();
  }
  changed_.notify_all();
  thread_.join();
}

void BandWriter::write(std::size_t index, QuantizedTensor band) {
  if (!thread_.joinable()) return writer_.write_rows(index, band.view());
  {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return !waiting_ || error_; });
    if (error_) std::rethrow_exception(error_);
    waiting_.emplace(index, std::move(band));
  }
  changed_.notify_all();
}

void BandWriter::finish() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return (!waiting_ && !writing_) || error_; });
  if (error_) std::rethrow_exception(error_);
}

void BandWriter::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return waiting_ || stopping_; });
    if (stopping_) return;
    const std::pair<std::size_t, QuantizedTensor> band = std::move(*waiting_);
    waiting_.reset();
    writing_ = true;
    lock.unlock();
    changed_.notify_all();
    std::exception_ptr error;
    try {
      writer_.write_rows(band.first, band.second.view());
    } catch (...) {
      error = std::current_exception();
    }
    lock.lock();
    writing_ = false;
    error_ = error;
    changed_.notify_all();
    if (error) return;
  }
}

}  // namespace nibble
