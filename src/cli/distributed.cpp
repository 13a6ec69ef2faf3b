// SPDX-License-Identifier: Apache-2.0
#include "cli/distributed.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <exception>
#include <memory>
#include <new>

#include "distribute/mpi_transport.h"
#include "nibble/error.h"

namespace nibble::cli {
namespace {

// Standard error as it was, for what any rank may have to say.
class Voice {
 public:
  Voice() : error_(fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3)) {}
  ~Voice() {
    if (error_ >= 0) close(error_);
  }
  Voice(const Voice&) = delete;
  Voice& operator=(const Voice&) = delete;

  void say(const std::string& line) const {
    const std::string text = line + "\n";
    if (error_ >= 0 && write(error_, text.data(), text.size()) < 0) return;  // nobody listens
  }
  // Of what this process prints from here on nothing is heard but this.
  static void silence() {
    const int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (nowhere < 0) return;
    dup2(nowhere, STDOUT_FILENO);
    dup2(nowhere, STDERR_FILENO);
    close(nowhere);
  }

 private:
  int error_;
};

void end_all(Session& session, Transport& ranks, const Voice& voice, const Error& error) {
  ranks.fail(error);
  session.set_exit_code(error.kind() == ErrorKind::invalid_argument ? 2 : 1);
  // The job is ended with the transport: there will be no later moment to say why.
  if (ranks.is_lost()) return voice.say(fmt::format("nibble: error: {}", error.what()));
  if (ranks.is_root()) throw error;
}

}  // namespace

void run_in_ranks(Session& session, const std::function<void(Transport&)>& act) {
  const Voice voice;
  const std::unique_ptr<Transport> ranks =
      open_mpi({.note = [&](const std::string& text) { voice.say("note: " + text); }});
  if (!ranks->is_root()) Voice::silence();
  try {
    act(*ranks);
    ranks->wait_for_all("the end of all ranks");
  } catch (const Error& error) {
    end_all(session, *ranks, voice, error);
  } catch (const std::bad_alloc&) {
    end_all(session, *ranks, voice,
            Error(ErrorKind::resource, "not enough memory; give each rank more, or use more ranks"));
  } catch (const std::exception& error) {
    end_all(session, *ranks, voice, Error(ErrorKind::internal, error.what()));
  }
}

}  // namespace nibble::cli
