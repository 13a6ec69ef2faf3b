// SPDX-License-Identifier: Apache-2.0
#include "io/streamed_directory.h"

#include "nibble/error.h"

namespace nibble {

void StreamedDirectory::write_rows(std::size_t index, const QuantizedView& band) {
  require_open();
  with_final_names([&] { stream_.write_rows(index, band); });
}

void StreamedDirectory::finish(bool sync, const OutputJudge& judge, ThreadPool* pool) {
  require_open();
  try {
    stream_.require_complete();
    with_final_names([&] {
      commit_files();
      verify(pool);
    });
    if (judge) judge(directory_->temporary_path());
    directory_->commit(sync);
  } catch (...) {
    close();
    throw;
  }
  close();
}

void StreamedDirectory::write_small_file(std::string_view name, std::string_view text) {
  OutputFile file(within(name));
  file.write(text);
  file.commit();
  small_bytes_ += text.size();
}

void StreamedDirectory::require_open() const {
  if (!directory_)
    throw Error(ErrorKind::internal, fmt::format("{}: the writer has finished or failed", path_.string()));
}

void StreamedDirectory::close() {
  close_files();
  directory_.reset();
}

}  // namespace nibble
