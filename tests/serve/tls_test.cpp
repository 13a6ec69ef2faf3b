// SPDX-License-Identifier: Apache-2.0
//
// HTTPS as OpenSSL's own client sees it, with a certificate made for the test.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "base/scratch_directory.h"
#include "nibble/error.h"
#include "serve/echo_handler.h"
#include "serve/raw_client.h"
#include "serve/tls_files.h"

namespace nibble::serve {
namespace {

using namespace std::chrono_literals;

template <auto release>
struct Releases {
  void operator()(auto* what) const { release(what); }
};
using File = std::unique_ptr<std::FILE, Releases<std::fclose>>;
using Key = std::unique_ptr<EVP_PKEY, Releases<EVP_PKEY_free>>;

// A key, and a certificate of it for localhost that it signed itself, beside one another in a directory.
struct Identity {
  std::string certificate, key;

  Identity(const std::filesystem::path& directory, const std::string& name, const char* passphrase = nullptr,
           Key pair = Key(EVP_EC_gen("P-256")))
      : certificate((directory / (name + ".crt")).string()), key((directory / (name + ".key")).string()) {
    const std::unique_ptr<X509, Releases<X509_free>> made(X509_new());
    X509_set_version(made.get(), 2);
    ASN1_INTEGER_set(X509_get_serialNumber(made.get()), 1);
    X509_gmtime_adj(X509_getm_notBefore(made.get()), -3600);
    X509_gmtime_adj(X509_getm_notAfter(made.get()), 3600);
    X509_set_pubkey(made.get(), pair.get());
    X509_NAME* const subject = X509_get_subject_name(made.get());
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>("localhost"), -1, -1,
                               0);
    X509_set_issuer_name(made.get(), subject);
    for (const auto& [kind, value] : {std::pair(NID_subject_alt_name, "DNS:localhost,IP:127.0.0.1"),
                                      std::pair(NID_basic_constraints, "critical,CA:TRUE")}) {
      const std::unique_ptr<X509_EXTENSION, Releases<X509_EXTENSION_free>> one(
          X509V3_EXT_conf_nid(nullptr, nullptr, kind, value));
      X509_add_ext(made.get(), one.get(), -1);
    }
    EXPECT_GT(X509_sign(made.get(), pair.get(), EVP_sha256()), 0);
    const File certificate_file(std::fopen(certificate.c_str(), "w")), key_file(std::fopen(key.c_str(), "w"));
    EXPECT_EQ(PEM_write_X509(certificate_file.get(), made.get()), 1);
    EXPECT_EQ(PEM_write_PKCS8PrivateKey(key_file.get(), pair.get(), passphrase ? EVP_aes_128_cbc() : nullptr,
                                        passphrase, passphrase ? 5 : 0, nullptr, nullptr),
              1);
  }
};

// Trusts one certificate, and takes a server that shows it for localhost alone.
class TlsClient {
 public:
  TlsClient(std::uint16_t port, const std::string& trusted, int newest = TLS1_3_VERSION)
      : context_(SSL_CTX_new(TLS_client_method())), socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
    const timeval most{.tv_sec = 120, .tv_usec = 0};
    setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &most, sizeof most);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    SSL_CTX_load_verify_file(context_.get(), trusted.c_str());
    SSL_CTX_set_verify(context_.get(), SSL_VERIFY_PEER, nullptr);
    SSL_CTX_set_min_proto_version(context_.get(), TLS1_VERSION);
    SSL_CTX_set_max_proto_version(context_.get(), newest);
    SSL_CTX_set_security_level(context_.get(), 0);  // old versions are offered, if asked for
    ssl_.reset(SSL_new(context_.get()));
    SSL_set1_host(ssl_.get(), "localhost");
    static constexpr unsigned char kProtocols[] = "\x02h2\x08http/1.1";
    SSL_set_alpn_protos(ssl_.get(), kProtocols, sizeof kProtocols - 1);
    SSL_set_fd(ssl_.get(), socket_);
    is_agreed_ = SSL_connect(ssl_.get()) == 1;
  }
  ~TlsClient() {
    if (socket_ >= 0) ::close(socket_);
  }
  TlsClient(const TlsClient&) = delete;
  TlsClient& operator=(const TlsClient&) = delete;

  bool is_agreed() const { return is_agreed_; }
  std::string protocol() const {
    const unsigned char* name = nullptr;
    unsigned size = 0;
    SSL_get0_alpn_selected(ssl_.get(), &name, &size);
    return std::string(reinterpret_cast<const char*>(name), size);
  }
  void send(const std::string& text) {
    EXPECT_EQ(SSL_write(ssl_.get(), text.data(), static_cast<int>(text.size())), static_cast<int>(text.size()));
  }
  // Through this text; all there was where the server ends before.
  std::string read_through(const std::string& end) {
    std::string text;
    char byte = 0;
    while (!text.ends_with(end) && SSL_read(ssl_.get(), &byte, 1) == 1) text += byte;
    return text;
  }
  // Whether the server says that nothing follows, as it should before it leaves.
  bool is_told_of_end() {
    char byte = 0;
    return SSL_read(ssl_.get(), &byte, 1) <= 0 && SSL_get_error(ssl_.get(), 0) == SSL_ERROR_ZERO_RETURN;
  }

 private:
  std::unique_ptr<SSL_CTX, Releases<SSL_CTX_free>> context_;
  std::unique_ptr<SSL, Releases<SSL_free>> ssl_;
  int socket_;
  bool is_agreed_ = false;
};

class Tls : public testing::Test {
 protected:
  void start(HttpLimits limits = {}) {
    server.emplace(HttpAddress{.port = 0, .tls = read_tls_files(identity.certificate, identity.key)}, limits, echo);
    server->start();
  }
  std::uint16_t port() const { return server->port(); }

  ScratchDirectory scratch;
  Identity identity{scratch.path(), "server"};
  Echo echo;
  std::optional<HttpServer> server;
};

TEST_F(Tls, RequestsAreAnsweredByTheServerThatIsTrusted) {
  start();
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    TlsClient client(port(), identity.certificate, version);
    ASSERT_TRUE(client.is_agreed()) << version;
    EXPECT_EQ(client.protocol(), "http/1.1");
    // Two in one piece: the second one lies decrypted when the first one has been answered.
    client.send(
        "GET /a?x=1 HTTP/1.1\r\nHost: localhost\r\n\r\nPOST /b HTTP/1.1\r\nHost: localhost\r\nContent-Length: "
        "5\r\n\r\nhello");
    EXPECT_TRUE(client.read_through("GET /a?x=1  ").ends_with("\r\n\r\nGET /a?x=1  "));
    EXPECT_TRUE(client.read_through("hello").ends_with("\r\n\r\nPOST /b?  hello"));
    const std::string large(300'000, 'x');  // of many records
    client.send("POST /c HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 300000\r\n\r\n" + large);
    EXPECT_TRUE(client.read_through("POST /c?  " + large).ends_with("POST /c?  " + large));
    EXPECT_TRUE(client.is_told_of_end());
  }
  const Identity other(scratch.path(), "other");
  EXPECT_FALSE(TlsClient(port(), other.certificate).is_agreed());
  EXPECT_FALSE(TlsClient(port(), identity.certificate, TLS1_1_VERSION).is_agreed());
}

TEST_F(Tls, StreamsComeAsTheyAreMadeAndClientsLeave) {
  start();
  {
    TlsClient client(port(), identity.certificate);
    client.send("GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n");
    const auto exchange = echo.wait_for_held();
    ASSERT_TRUE(exchange);
    exchange->send("one");
    EXPECT_TRUE(client.read_through("one\r\n").ends_with("3\r\none\r\n"));
    exchange->send("two");
    exchange->end_stream();
    EXPECT_EQ(client.read_through("0\r\n\r\n"), "3\r\ntwo\r\n0\r\n\r\n");
  }
  std::shared_ptr<HttpExchange> held;
  {
    TlsClient client(port(), identity.certificate);
    client.send("GET /held HTTP/1.1\r\nHost: localhost\r\n\r\n");
    held = echo.wait_for_held();
    ASSERT_TRUE(held);
  }
  echo.wait_for_gone(1);
}

TEST_F(Tls, WhoSpeaksAnotherLanguageIsTold) {
  start();
  for (const char* const method : {"GET", "OPTIONS", "DELETE"}) {
    RawClient plain(port());
    plain.send_request(method, "/a");
    RawAnswer answer = plain.read_answer();
    EXPECT_EQ(answer.status, 400) << method;
    EXPECT_EQ(answer.body, "this server speaks HTTPS, not HTTP here\n");
  }
  RawClient rubbish(port());
  rubbish.send(std::string("\x16\x03\x01\x00\x05hello", 10));
  rubbish.read_rest();  // an alert, or nothing, and the end
  TlsClient client(port(), identity.certificate);
  client.send("GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n");
  EXPECT_TRUE(client.read_through("GET /a?").ends_with("GET /a?"));
  start({.header = 300ms});
  RawClient half(port());
  half.send("\x16\x03\x01 half of a long record");
  half.read_rest();
  const std::vector<std::string> unheard = echo.wait_for_unheard(5);
  ASSERT_EQ(unheard.size(), 5u);
  for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(unheard[i], "127.0.0.1: HTTP where the server speaks HTTPS");
  EXPECT_TRUE(unheard[3].starts_with("127.0.0.1: ")) << unheard[3];
  EXPECT_EQ(unheard[3].find("in time"), std::string::npos) << unheard[3];
  EXPECT_EQ(unheard[4], "127.0.0.1: no keys were agreed on in time");
  RawClient silent(port());
  EXPECT_EQ(silent.read_rest(), "");  // given up after limits.header
}

TEST_F(Tls, RenewedFilesAreShownToConnectionsToCome) {
  TlsFiles files(identity.certificate, identity.key);
  server.emplace(HttpAddress{.port = 0, .tls = files.tls()}, HttpLimits(), echo);
  server->start();
  EXPECT_EQ(files.look_again(), nullptr);
  EXPECT_EQ(files.look_again(), nullptr);
  TlsClient before(port(), identity.certificate);
  EXPECT_TRUE(before.is_agreed());

  const Identity next(scratch.path(), "next");
  const auto put = [&](const std::string& from, const std::string& to, std::chrono::seconds later) {
    std::filesystem::copy_file(from, to, std::filesystem::copy_options::overwrite_existing);
    std::filesystem::last_write_time(to, std::filesystem::last_write_time(from) + later);
  };
  put(next.certificate, identity.certificate, 10s);
  EXPECT_EQ(files.look_again(), nullptr);   // may go on changing
  EXPECT_THROW(files.look_again(), Error);  // the key is still the other one's
  EXPECT_EQ(files.look_again(), nullptr);   // which is told once
  put(next.key, identity.key, 20s);
  EXPECT_EQ(files.look_again(), nullptr);
  std::shared_ptr<TlsContext> renewed = files.look_again();
  ASSERT_TRUE(renewed);
  server->renew(std::move(renewed));
  TlsClient after(port(), next.certificate);
  EXPECT_TRUE(after.is_agreed());
  before.send("GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n");  // goes on as it began
  EXPECT_TRUE(before.read_through("GET /a?").ends_with("GET /a?"));
  std::filesystem::remove(identity.key);
  EXPECT_EQ(files.look_again(), nullptr);
  EXPECT_THROW(files.look_again(), Error);
}

TEST_F(Tls, FilesThatAreNoCertificateAndItsKeyAreRefused) {
  const Identity other(scratch.path(), "other"), locked(scratch.path(), "locked", "12345"),
      rsa(scratch.path(), "rsa", nullptr, Key(EVP_RSA_gen(2048)));
  const std::string empty = scratch.write("empty", "").string();
  const auto refused = [&](const std::string& certificate, const std::string& key) {
    try {
      read_tls_files(certificate, key);
    } catch (const Error& error) {
      return std::pair(error.kind(), std::string(error.what()));
    }
    return std::pair(ErrorKind::internal, std::string("no error"));
  };
  EXPECT_EQ(refused((scratch / "none").string(), identity.key).first, ErrorKind::not_found);
  EXPECT_EQ(refused(identity.certificate, (scratch / "none").string()).first, ErrorKind::not_found);
  for (const auto& [certificate, key, what] :
       {std::tuple(empty, identity.key, "the file holds no certificate in PEM"),
        std::tuple(identity.certificate, empty, "the file holds no private key in PEM"),
        std::tuple(identity.certificate, other.key, "the key is not that of the certificate"),
        std::tuple(rsa.certificate, identity.key, "the key is not that of the certificate"),
        std::tuple(locked.certificate, locked.key, "the key is locked by a passphrase")}) {
    const auto [kind, text] = refused(certificate, key);
    EXPECT_EQ(kind, ErrorKind::unusable_input);
    EXPECT_TRUE(text.starts_with(what)) << text;
  }
}

}  // namespace
}  // namespace nibble::serve
