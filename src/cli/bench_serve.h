// SPDX-License-Identifier: Apache-2.0
//
// `nibble bench --serve`: a server under load, one that is started for it or one that runs on this machine.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>

#include "cli/session.h"
#include "serve/load/load_run.h"

namespace nibble::cli {

struct ServeBench {
  bool is_asked = false;
  std::string url;
  std::size_t parallel = 0;  // of a server that is started; 0: as many as there are clients, or 16
  serve::LoadSettings load;
};

void add_serve_bench(CLI::App& verb, ServeBench& bench);
// model: a path; empty with a URL.
void bench_serve(const std::string& model, const ServeBench& bench, Session& session);

}  // namespace nibble::cli
