// SPDX-License-Identifier: Apache-2.0
//
// Runs the command under the eyes of the system's tracer, which counts its changes to files (writes, renames, removals)
// and can kill it just before any one of them: the same moment in every run, however slow the machine is. Linux only;
// the command must have one thread.
//
//   const TracedRun whole = run_traced(scratch, {"quantize", ...}, {});
//   const TracedRun killed = run_traced(scratch, {"quantize", ...}, {.kill_before = whole.changes / 2});
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>
#include <vector>

namespace nibble {

struct TracedRun {
  bool started = false;       // false: the system does not let us trace
  std::uint64_t changes = 0;  // that were made or about to be made
  bool killed = false;
  int code = -1;  // of a run that ended by itself
};

struct TraceOptions {
  std::uint64_t kill_before = 0;  // the signal comes before this change, counted from 1; 0: never
  int signal = SIGKILL;           // any other one is delivered, and the command does with it what it does
};

namespace tracing {

// Files have paths; pipes (which sanitizers write to for reasons of their own) have none, and messages go to /dev/null.
inline bool is_file(pid_t process, std::uint64_t descriptor) {
  std::error_code missing;
  const std::string path =
      std::filesystem::read_symlink("/proc/" + std::to_string(process) + "/fd/" + std::to_string(descriptor), missing)
          .string();
  return path.starts_with('/') && !path.starts_with("/dev/");
}

inline bool changes_files(pid_t process, std::uint64_t call, std::uint64_t first_argument) {
  constexpr std::array kToDescriptors = {SYS_write, SYS_pwrite64, SYS_writev, SYS_ftruncate};
  constexpr std::array kToPaths = {
      SYS_renameat2, SYS_renameat, SYS_unlinkat, SYS_mkdirat,
#ifdef SYS_rename
      SYS_rename,    SYS_unlink,   SYS_mkdir,    SYS_rmdir,
#endif
  };
  const auto is_call = [&](long known) { return static_cast<std::uint64_t>(known) == call; };
  return std::ranges::any_of(kToPaths, is_call) ||
         (std::ranges::any_of(kToDescriptors, is_call) && is_file(process, first_argument));
}

// In the child: never returns.
[[noreturn]] inline void become(const std::filesystem::path& directory, const std::string& binary,
                                std::vector<std::string> arguments) {
  std::vector<char*> argv;
  argv.push_back(const_cast<char*>(binary.c_str()));
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  const int nothing = open("/dev/null", O_RDWR);
  if (chdir(directory.c_str()) != 0 || nothing < 0 || dup2(nothing, STDOUT_FILENO) < 0 ||
      dup2(nothing, STDERR_FILENO) < 0)
    _exit(126);
  const char* given = std::getenv("ASAN_OPTIONS");
  setenv("ASAN_OPTIONS", ((given != nullptr ? given : std::string()) + ":detect_leaks=0").c_str(),
         1);  // no leak checker works under a tracer
  if (ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) _exit(125);
  execv(binary.c_str(), argv.data());
  _exit(127);
}

}  // namespace tracing

inline TracedRun run_traced(const std::filesystem::path& directory, const std::string& binary,
                            const std::vector<std::string>& arguments, const TraceOptions& options) {
  TracedRun run;
  const pid_t child = fork();
  if (child == 0) tracing::become(directory, binary, arguments);
  int status = 0;
  if (child < 0 || waitpid(child, &status, 0) != child || !WIFSTOPPED(status)) return run;  // the stop of exec
  run.started = true;
  ptrace(PTRACE_SETOPTIONS, child, nullptr, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL);
  long signal_to_pass = 0;
  for (;;) {
    if (ptrace(PTRACE_SYSCALL, child, nullptr, signal_to_pass) != 0 || waitpid(child, &status, 0) != child) break;
    if (WIFEXITED(status)) {
      run.code = WEXITSTATUS(status);
      break;
    }
    if (WIFSIGNALED(status)) {
      run.killed = WTERMSIG(status) == SIGKILL;
      break;
    }
    const int signal_number = WSTOPSIG(status);
    signal_to_pass = signal_number == (SIGTRAP | 0x80) || signal_number == SIGTRAP ? 0 : signal_number;
    if (signal_number != (SIGTRAP | 0x80)) continue;
    __ptrace_syscall_info info{};
    if (ptrace(PTRACE_GET_SYSCALL_INFO, child, sizeof info, &info) <= 0) break;
    if (info.op != PTRACE_SYSCALL_INFO_ENTRY || !tracing::changes_files(child, info.entry.nr, info.entry.args[0]))
      continue;
    ++run.changes;
    if (run.changes != options.kill_before) continue;
    kill(child, options.signal);
    if (options.signal != SIGKILL) continue;
    waitpid(child, &status, 0);
    run.killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    break;
  }
  return run;
}

}  // namespace nibble
