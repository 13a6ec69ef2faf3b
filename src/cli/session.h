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

#include "base/thread_pool.h"
#include "cli/progress_bar.h"
#include "kernels/attention.h"
#include "kernels/linear.h"
#include "report/json_report.h"
#include "report/table.h"

namespace nibble::cli {

class Session {
 public:
  // Options that the verbs share; each verb takes those that mean something to it.
  void add_threads(CLI::App& verb);
  void add_json(CLI::App& verb);
  void add_engine(CLI::App& verb);  // threads, --activations, --kv

  bool json() const noexcept { return json_; }
  ThreadPool& pool();
  KernelOptions kernels() const;  // NIBBLE_ISA is heeded here
  std::optional<KvType> kv() const;  // none: the model's own default
  ProgressCallback progress();
  void end_progress() { bar_.wipe(); }
  TableStyle style() const;

  void print(std::string_view text);  // to standard output, terminal signs replaced where it is not Unicode
  void print_json(const Json& json);
  void note(std::string_view text);  // to standard error, one line

 private:
  std::size_t threads_ = 0;
  bool json_ = false;
  std::string activations_ = "auto", kv_ = "auto";
  std::unique_ptr<ThreadPool> pool_;
  ProgressBar bar_;
};

// The whole of a text file ("-": standard input). Error(not_found or io) names it; Error(invalid_argument) when it is empty.
std::string read_text(const std::string& path);

std::vector<std::string> split_list(std::string_view list);  // "a,b" -> {"a", "b"}

}  // namespace nibble::cli
