// SPDX-License-Identifier: Apache-2.0
#include "cli/bench_serve.h"

#include <fmt/format.h>

#include <cstdlib>
#include <memory>
#include <optional>
#include <span>

#include "cli/option_checks.h"
#include "nibble/error.h"
#include "report/number_text.h"
#include "report/table.h"
#include "serve/api/api_server.h"

namespace nibble::cli {

namespace {

constexpr std::size_t kParallelAtARate = 16;

// With room for what is asked of it, and nothing else to do.
class OwnServer {
 public:
  OwnServer(const std::string& path, std::size_t parallel, const serve::LoadSettings& load, Session& session)
      : model_(SourceModel::open(path)),
        decoder_(model_, {session.running_kernels(), session.kv(), session.progress()}, session.machine()) {
    session.note_reading(model_);
    const std::size_t tokens = load.prompt_tokens + load.new_tokens, context = tokens + 1;  // a text ends before it
    if (tokens >= model_.config().context)
      throw Error(ErrorKind::invalid_argument,
                  fmt::format("-p and -n must leave one token of the model's context of {}: {} + {} = {}",
                              model_.config().context, load.prompt_tokens, load.new_tokens, tokens));
    facts_.names = {serve::default_model_name(path)};
    facts_.tokenizer = &model_.tokenizer();
    facts_.context = facts_.trained_context = context;
    facts_.vocabulary = model_.config().vocab_size;
    const serve::SchedulerOptions options{
        .limits = {.context = context,
                   .most_sequences = parallel,
                   .most_held = 0,
                   .memory = serve::BatchLoop::bytes_of_sequence(decoder_, context) * parallel}};
    facts_.most_sequences = parallel;
    facts_.most_together = parallel + options.queue;
    pool_.emplace(std::make_shared<serve::LoadedModel>(decoder_, model_.tokenizer(), options));
    api_.emplace(std::span(&facts_, 1), *pool_, serve::AccessRules{}, serve::LogCallback());
    server_.emplace(serve::HttpAddress{.port = 0}, serve::HttpLimits{}, *api_);
    server_->start();
  }
  ~OwnServer() { server_->stop(std::chrono::milliseconds(0)); }
  OwnServer(const OwnServer&) = delete;
  OwnServer& operator=(const OwnServer&) = delete;

  serve::LoopbackAddress address() const { return {.port = server_->port()}; }

 private:
  SourceModel model_;
  Decoder decoder_;
  serve::ServedModel facts_;
  std::optional<serve::ModelPool> pool_;
  std::optional<serve::ApiServer> api_;
  std::optional<serve::HttpServer> server_;
};

Json json_of(const serve::Percentiles& of) { return {{"p50", of.p50}, {"p95", of.p95}, {"p99", of.p99}}; }

Json json_of(const serve::LoadFigures& figures, const serve::LoadSettings& load) {
  return {{"clients", load.rate > 0 ? Json(nullptr) : Json(load.clients)},
          {"rate", load.rate > 0 ? Json(load.rate) : Json(nullptr)},
          {"prompt_tokens", load.prompt_tokens},
          {"new_tokens", load.new_tokens},
          {"requests", figures.requests},
          {"answered", figures.answered},
          {"refused", figures.refused},
          {"failed", figures.failed},
          {"seconds", figures.seconds},
          {"tokens_per_second", figures.tokens_per_second},
          {"requests_per_second", figures.requests_per_second},
          {"good_share", figures.good_share},
          {"time_to_first_token_seconds", json_of(figures.first_token)},
          {"inter_token_latency_seconds", json_of(figures.between_tokens)},
          {"e2e_request_latency_seconds", json_of(figures.whole)}};
}

std::string text_of(const serve::LoadFigures& figures, const serve::LoadSettings& load, const TableStyle& style) {
  Table table({{"in milliseconds"}, {"p50", Align::right}, {"p95", Align::right}, {"p99", Align::right}});
  const auto add = [&](const char* what, const serve::Percentiles& of) {
    table.add({what, fmt::format("{:.1f}", of.p50 * 1000), fmt::format("{:.1f}", of.p95 * 1000),
               fmt::format("{:.1f}", of.p99 * 1000)});
  };
  add("to the first token", figures.first_token);
  add("between tokens", figures.between_tokens);
  add("to the end", figures.whole);
  const std::string who = load.rate > 0       ? fmt::format("{} requests a second", load.rate)
                          : load.clients == 1 ? "one client"
                                              : fmt::format("{} clients", load.clients);
  return table.text(style) +
         fmt::format(
             "\n{}, {} requests of {} tokens that get {}: {} answered, {} refused, {} failed in {:.1f} s\n"
             "{} tok/s, {:.2f} requests/s; {} had the first token within {:g} s and each further one within "
             "{:g} s\n",
             who, figures.requests, load.prompt_tokens, load.new_tokens, figures.answered, figures.refused,
             figures.failed, figures.seconds, speed_text(figures.tokens_per_second), figures.requests_per_second,
             percent_text(figures.good_share), load.most_first_token_seconds, load.most_token_seconds);
}

}  // namespace

void add_serve_bench(CLI::App& verb, ServeBench& bench) {
  verb.add_flag("--serve", bench.is_asked,
                "Put a server of the model on this machine under load, with -p tokens a prompt and -n a text");
  CLI::Option* const clients =
      verb.add_option("--clients", bench.load.clients, "With --serve: that ask again once they are answered")
          ->check(count_within(1, serve::kMostOnTheirWay))
          ->capture_default_str();
  verb.add_option("--rate", bench.load.rate, "With --serve: requests per second that come by chance (Poisson), instead")
      ->check(number_within(0.001, 10000))
      ->excludes(clients);
  verb.add_option("--requests", bench.load.requests, "With --serve: how many are asked")
      ->check(count_within(1, 100000))
      ->capture_default_str();
  verb.add_option("--most-seconds", bench.load.most_seconds, "With --serve: nothing is asked after these")
      ->check(number_within(1, 86400))
      ->capture_default_str();
  verb.add_option("--parallel", bench.parallel,
                  "With --serve: texts that the server makes at the same time (default: as many as clients, or 16)")
      ->check(count_within(1, 1024));
  verb.add_option("--url", bench.url,
                  "With --serve, and without a model: a server that runs on this machine, as http://127.0.0.1:8080");
}

void bench_serve(const std::string& model, const ServeBench& bench, Session& session) {
  if (model.empty() == bench.url.empty())
    throw Error(ErrorKind::invalid_argument, "--serve takes a model, or the --url of a server that has one");
  if (bench.url.empty()) serve::require_http_server();
  serve::LoadSettings load = bench.load;
  load.progress = session.progress();
  if (const char* const key = std::getenv("NIBBLE_API_KEY"); key != nullptr && !bench.url.empty()) load.key = key;
  if (load.rate > 0) load.clients = 0;
  const std::size_t parallel = bench.parallel > 0 ? bench.parallel : load.rate > 0 ? kParallelAtARate : load.clients;
  std::unique_ptr<OwnServer> own;
  if (bench.url.empty()) own = std::make_unique<OwnServer>(model, parallel, load, session);
  const serve::LoopbackAddress address = own ? own->address() : serve::parse_loopback_url(bench.url);
  const serve::LoadFigures figures = serve::run_load(address, load);
  session.end_progress();
  if (session.json()) {
    Json json = json_of(figures, load);
    if (own)
      json.update({{"model", model}, {"parallel", parallel}, {"threads", session.pool().num_threads()}});
    else
      json["url"] = bench.url;
    return session.print_json(json);
  }
  session.print(text_of(figures, load, session.style()));
}

}  // namespace nibble::cli
