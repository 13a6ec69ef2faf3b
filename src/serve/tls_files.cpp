// SPDX-License-Identifier: Apache-2.0
#include "serve/tls_files.h"

#include <system_error>
#include <utility>

namespace nibble::serve {

TlsFiles::TlsFiles(std::string certificate, std::string key)
    : certificate_(std::move(certificate)),
      key_(std::move(key)),
      read_(times()),  // before they are read: a change meanwhile is one
      seen_(read_),
      tls_(read_tls_files(certificate_, key_)) {}

std::shared_ptr<TlsContext> TlsFiles::look_again() {
  const Times now = times();
  const bool is_still = std::exchange(seen_, now) == now;
  if (!is_still || now == read_) return nullptr;
  read_ = now;
  return read_tls_files(certificate_, key_);
}

// A file that is not there has a time of its own, too.
TlsFiles::Times TlsFiles::times() const {
  std::error_code ignored;
  return {std::filesystem::last_write_time(certificate_, ignored), std::filesystem::last_write_time(key_, ignored)};
}

}  // namespace nibble::serve
