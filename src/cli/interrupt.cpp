// SPDX-License-Identifier: Apache-2.0
#include "cli/interrupt.h"

#include <signal.h>

#include <initializer_list>

namespace nibble::cli {
namespace {

// A signal handler can reach nothing but a global.
volatile sig_atomic_t signal_seen = 0, times_seen = 0, times_caught = 1;

// Whoever insists ends the program at once.
void on_signal(int number) {
  if (signal_seen == 0 || signal_seen == SIGINT) signal_seen = number;  // what ends programs is not forgotten
  times_seen = times_seen + 1;
  if (times_seen >= times_caught) signal(number, SIG_DFL);
}

void catch_signal(int number) {
  struct sigaction action{};
  action.sa_handler = on_signal;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESTART;
  sigaction(number, &action, nullptr);
}

}  // namespace

void catch_interrupts() {
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) {
    // What the caller has asked to be ignored (nohup, a shell's background job) stays ignored.
    struct sigaction before{};
    if (sigaction(number, nullptr, &before) == 0 && before.sa_handler == SIG_IGN) continue;
    catch_signal(number);
  }
  // A reader that went away and a limit on file sizes are failures of a write like others, so that what is half-written
  // is tidied up.
  for (const int number : {SIGPIPE, SIGXFSZ}) signal(number, SIG_IGN);
}

bool interrupted() noexcept { return signal_seen != 0; }

void expect_interrupts() noexcept { times_caught = 2; }

bool take_interrupt() noexcept {
  if (signal_seen != SIGINT) return false;
  signal_seen = 0;
  times_seen = 0;
  catch_signal(SIGINT);
  return true;
}

}  // namespace nibble::cli
