// SPDX-License-Identifier: Apache-2.0
//
// In place of tls_context.cpp where nibble is built without OpenSSL.
#include "nibble/error.h"
#include "serve/http/http_server.h"

namespace nibble::serve {

std::shared_ptr<TlsContext> read_tls_files(const std::string&, const std::string&) {
  throw Error(ErrorKind::unsupported, "this nibble is built without TLS; install libssl-dev and build it again");
}

}  // namespace nibble::serve
