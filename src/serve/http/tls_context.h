// SPDX-License-Identifier: Apache-2.0
//
// What a server shows and proves of itself under TLS. Internal to http/, and only where nibble is built with OpenSSL.
#pragma once

#include <boost/asio/ssl/context.hpp>
#include <string>

namespace nibble::serve {

// TLS 1.2 and 1.3, HTTP/1.1 by ALPN.
class TlsContext {
 public:
  TlsContext(const std::string& certificate, const std::string& key);
  boost::asio::ssl::context& context() noexcept { return context_; }

 private:
  boost::asio::ssl::context context_;
};

}  // namespace nibble::serve
