// SPDX-License-Identifier: Apache-2.0
//
// The files of a server's certificate, which are renewed while it runs. Of one thread.
//
//   TlsFiles files("server.crt", "server.key");
//   HttpServer server({.tls = files.tls()}, limits, handler);
//   ...
//   if (auto renewed = files.look_again()) server.renew(std::move(renewed));
#pragma once

#include <array>
#include <filesystem>
#include <memory>
#include <string>

#include "serve/http/http_server.h"

namespace nibble::serve {

class TlsFiles {
 public:
  // Errors as read_tls_files's.
  TlsFiles(std::string certificate, std::string key);

  // As they were read first.
  const std::shared_ptr<TlsContext>& tls() const noexcept { return tls_; }

  // What the files hold since they were changed; null where they were not, and until a second look finds them as the
  // first one did, for a certificate and its key are not written at once. Errors as read_tls_files's, once for a
  // change.
  std::shared_ptr<TlsContext> look_again();

 private:
  using Times = std::array<std::filesystem::file_time_type, 2>;
  Times times() const;

  std::string certificate_, key_;
  Times read_, seen_;
  std::shared_ptr<TlsContext> tls_;
};

}  // namespace nibble::serve
