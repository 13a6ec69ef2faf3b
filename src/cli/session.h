// SPDX-License-Identifier: Apache-2.0
//
// What every verb shares: threads, instruction set, how to print, how to report progress.
#pragma once

#include <CLI/CLI.hpp>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "cli/progress_bar.h"
#include "evaluate/acceptance.h"
#include "kernels/attention/attention.h"
#include "kernels/linear/linear.h"
#include "kernels/machine.h"
#include "pipeline/judge/judge_models.h"
#include "report/json_report.h"
#include "report/table.h"

namespace nibble::cli {

// Thrown when nobody reads standard output any more, as behind a pipe to head.
struct ReaderGone {};

class Session {
 public:
  // Options that the verbs share; each verb takes those that mean something to it.
  void add_threads(CLI::App& verb);
  void add_json(CLI::App& verb);
  void add_engine(CLI::App& verb);  // threads, --activations, --kv

  bool json() const noexcept { return json_; }
  // What the program exits with when nothing goes wrong; 0 unless a verb says otherwise.
  void set_exit_code(int code) noexcept { exit_code_ = code; }
  int exit_code() const noexcept { return exit_code_; }
  Machine& machine();  // NIBBLE_ISA is heeded here
  ThreadPool& pool() { return machine().pool; }
  // The first is for judging models: `auto` measures originals in f32. The second is for
  // running them.
  KernelOptions kernels() const;
  KernelOptions running_kernels() const;
  std::optional<KvType> kv() const;  // none: the model's own default
  ProgressCallback progress();
  void end_progress() { bar_.wipe(); }
  // Of work in many stages: each in a line where there is no terminal to draw on.
  void tell_items() { bar_.tell_items(); }
  void announce_stages(std::vector<std::string> plan) { bar_.announce_stages(std::move(plan)); }
  TableStyle style() const;
  std::vector<std::pair<std::string, std::string>>
  settings();  // how it was measured: instruction set, threads, activations, KV cache

  // A text to measure or to calibrate on: read_text's, less a byte order mark. Error(unsupported) names what looks like
  // something else than text, unless it is insisted on. Says how much of it is not UTF-8.
  void add_force_text(CLI::App& verb);
  std::string read_corpus(const std::string& path);
  // The same, but there may be none, and JSON is text, too.
  std::string read_any_text(const std::string& path);
  void note_invalid_utf8(std::string_view text, const std::string& name);
  std::vector<NamedText> read_named_texts(const std::vector<std::string>& paths);

  // What is read of the model otherwise than it stands in its files, a line each.
  void note_reading(const SourceModel& model);
  // Says so where --activations names integers and none of the model's weights are multiplied with them.
  void note_unused_activations(const std::string& name, const SourceModel& model);

  void print(std::string_view text);  // to standard output, terminal signs replaced where it is not Unicode
  void print_json(const Json& json);
  void note(std::string_view text);  // to standard error, one line

 private:
  void refuse_foreign(const std::string& name, const std::string& kind) const;

  std::size_t threads_ = 0;
  bool json_ = false, force_text_ = false;
  int exit_code_ = 0;
  std::string activations_ = "auto", kv_ = "auto";
  std::unique_ptr<Machine> machine_;
  ProgressBar bar_;
};

// The whole of a text file ("-": standard input). Error(not_found or io) names it; Error(unsupported) when it is empty.
std::string read_text(const std::string& path);
std::string read_text_or_nothing(const std::string& path);
std::string text_name(const std::string& path);  // of messages: "standard input" for "-"

// 0 when all are accepted (or nothing was required), 3 when one is rejected, 4 when one is undecided.
int exit_code_of(const std::vector<Acceptance>& acceptances);

std::vector<std::string> split_list(std::string_view list);  // "a,b" -> {"a", "b"}

}  // namespace nibble::cli
