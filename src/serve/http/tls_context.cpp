// SPDX-License-Identifier: Apache-2.0
#include "serve/http/tls_context.h"

#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <filesystem>
#include <memory>
#include <string>

#include "nibble/error.h"
#include "serve/http/http_server.h"

namespace nibble::serve {

namespace ssl = boost::asio::ssl;

namespace {

// A client that wants HTTP/2 alone is served without ALPN, as one that says nothing (RFC 7301, 3.2, leaves it to it).
int choose_protocol(SSL*, const unsigned char** chosen, unsigned char* size, const unsigned char* offered,
                    unsigned offered_bytes, void*) {
  static constexpr unsigned char kOurs[] = "\x08http/1.1";
  unsigned char* found = nullptr;
  if (SSL_select_next_proto(&found, size, kOurs, sizeof kOurs - 1, offered, offered_bytes) != OPENSSL_NPN_NEGOTIATED)
    return SSL_TLSEXT_ERR_NOACK;
  *chosen = found;
  return SSL_TLSEXT_ERR_OK;
}

void require_file(const std::string& path, const char* what) {
  std::error_code failure;
  if (!std::filesystem::is_regular_file(path, failure))
    throw Error(ErrorKind::not_found, fmt::format("there is no file with the server's {}: {}", what, path));
}

}  // namespace

TlsContext::TlsContext(const std::string& certificate, const std::string& key) : context_(ssl::context::tls_server) {
  require_file(certificate, "certificate");
  require_file(key, "key");
  context_.set_options(ssl::context::default_workarounds | ssl::context::no_sslv2 | ssl::context::no_sslv3 |
                       ssl::context::no_tlsv1 | ssl::context::no_tlsv1_1 | ssl::context::no_compression |
                       ssl::context::single_dh_use);
  SSL_CTX_set_options(context_.native_handle(), SSL_OP_NO_RENEGOTIATION);
  SSL_CTX_set_alpn_select_cb(context_.native_handle(), choose_protocol, nullptr);
  // Nobody is asked for a passphrase.
  const auto was_asked = std::make_shared<bool>(false);
  context_.set_password_callback([was_asked](std::size_t, ssl::context::password_purpose) {
    *was_asked = true;
    return std::string();
  });
  boost::system::error_code failure;
  context_.use_certificate_chain_file(certificate, failure);
  if (failure)
    throw Error(ErrorKind::unusable_input,
                fmt::format("the file holds no certificate in PEM, with those that signed it behind it ({}): {}",
                            failure.message(), certificate));
  context_.use_private_key_file(key, ssl::context::pem, failure);
  if (*was_asked)
    throw Error(ErrorKind::unusable_input,
                fmt::format("the key is locked by a passphrase; write it without one, for the server alone to read "
                            "(openssl pkey -in KEY -out NEW): {}",
                            key));
  // A key of another kind than the certificate's is not compared when it is read.
  if (failure ? ERR_GET_REASON(static_cast<unsigned long>(failure.value())) == X509_R_KEY_VALUES_MISMATCH
              : SSL_CTX_check_private_key(context_.native_handle()) != 1)
    throw Error(ErrorKind::unusable_input,
                fmt::format("the key is not that of the certificate: {} and {}", key, certificate));
  if (failure)
    throw Error(ErrorKind::unusable_input,
                fmt::format("the file holds no private key in PEM ({}): {}", failure.message(), key));
}

std::shared_ptr<TlsContext> read_tls_files(const std::string& certificate, const std::string& key) {
  return std::make_shared<TlsContext>(certificate, key);
}

}  // namespace nibble::serve
