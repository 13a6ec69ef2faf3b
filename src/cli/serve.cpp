// SPDX-License-Identifier: Apache-2.0
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "base/memory.h"
#include "cli/chat/chat_options.h"
#include "cli/interrupt.h"
#include "cli/option_checks.h"
#include "cli/sampling_options.h"
#include "cli/verbs.h"
#include "nibble/error.h"
#include "pipeline/tell/inspect.h"
#include "pipeline/tell/memory_plan.h"
#include "report/number_text.h"
#include "serve/api/api_server.h"
#include "serve/line_writer.h"
#include "serve/tls_files.h"

namespace nibble::cli {
namespace {

using serve::AccessRules;
using serve::ServedModel;

constexpr std::size_t kLongestByDefault = 32768;
constexpr std::uint64_t kAnyMemory = UINT64_MAX;

struct Options {
  std::string key_file, tls_certificate, tls_key, memory, budget;
  std::vector<std::string> models, names;
  serve::HttpAddress address;
  AccessRules rules;
  ChatOptions chat;
  SamplerOptions sampler = {.temperature = 0.7};
  std::size_t context = 0, parallel = 8, queue = 64, held = 16, drain_seconds = 30;
  bool no_auth = false, quiet = false;
};

// A line each; what stands behind '#' at the beginning of one is none.
std::vector<std::string> keys_of(const std::string& path) {
  std::vector<std::string> keys;
  std::string text = read_text(path);
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    std::string line = text.substr(begin, end - begin);
    while (!line.empty() && (line.back() == ' ' || line.back() == '\r' || line.back() == '\t')) line.pop_back();
    if (!line.empty() && !line.starts_with('#')) keys.push_back(std::move(line));
    begin = end + 1;
  }
  if (keys.empty()) throw Error(ErrorKind::unusable_input, fmt::format("the file holds no keys: {}", path));
  return keys;
}

bool is_local(const std::string& host) { return host == "localhost" || host == "::1" || host.starts_with("127."); }

void judge_access(Options& options) {
  if (!options.key_file.empty()) options.rules.keys = keys_of(options.key_file);
  if (const char* const key = std::getenv("NIBBLE_API_KEY"); key != nullptr && *key != '\0')
    options.rules.keys.emplace_back(key);
  if (options.no_auth && !options.rules.keys.empty())
    throw Error(ErrorKind::invalid_argument, "--no-auth and keys contradict each other; leave out one of the two");
  if (!is_local(options.address.host) && options.rules.keys.empty() && !options.no_auth)
    throw Error(ErrorKind::invalid_argument,
                fmt::format("{} can be reached by other machines, so a key is needed: --api-key-file FILE, or the "
                            "variable NIBBLE_API_KEY; --no-auth serves everybody",
                            options.address.host));
}

// None where the model has none and none was asked for.
std::optional<ModelTemplate> open_template(const SourceModel& model, const std::string& name,
                                           const ChatOptions& options, Session& session) {
  try {
    return ModelTemplate::open(model, options.template_choice, false);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::not_found || !options.template_choice.empty()) throw;
    session.note(fmt::format(
        "note: '{}' has no chat template, so it continues texts and does not chat; --template gives one", name));
    return std::nullopt;
  }
}

ServedModel facts_of(const Options& options, const SourceModel& model, std::vector<std::string> names,
                     const ModelTemplate* chat_template, std::size_t context) {
  const ModelInfo info = describe_model(model);
  ServedModel served;
  served.names = std::move(names);
  served.tokenizer = &model.tokenizer();
  served.chat_template = chat_template;
  served.template_variables = template_variables(options.chat);
  served.sampler = options.sampler;
  served.context = context;
  served.trained_context = model.config().context;
  served.vocabulary = model.config().vocab_size;
  served.most_sequences = options.parallel;
  served.most_together = options.parallel + options.queue;
  served.parameters = info.parameters;
  served.bytes = info.bytes;
  served.created = std::time(nullptr);
  served.weights = serve::weight_facts(model);
  return served;
}

// What each is called, the first name being the one that is told; its path is one, too.
std::vector<std::vector<std::string>> names_of(const Options& options) {
  const std::size_t count = options.models.size();
  if (count > 1 && !options.names.empty() && options.names.size() != count)
    throw Error(ErrorKind::invalid_argument,
                fmt::format("several models have one --alias each, in their order, or none: {} for {} models",
                            options.names.size(), count));
  std::vector<std::vector<std::string>> names;
  for (std::size_t i = 0; i < count; ++i) {
    const std::string& path = options.models[i];
    std::vector<std::string> own = {serve::default_model_name(path)};
    if (!options.names.empty()) own = count == 1 ? options.names : std::vector{options.names[i]};
    if (std::ranges::find(own, path) == own.end()) own.push_back(path);
    const auto has = [](const std::vector<std::string>& all, const std::string& name) {
      return std::ranges::find(all, name) != all.end();
    };
    for (std::size_t other = 0; other < i; ++other)  // the same path twice is the first one's
      if (has(names[other], own.front()) || has(own, names[other].front()))
        throw Error(ErrorKind::invalid_argument,
                    fmt::format("two models have the same name; give each one with --alias, in their order: '{}'",
                                own.front()));
    names.push_back(std::move(own));
  }
  return names;
}

// All models that are served: open, and loaded when they are asked for.
class Models {
 public:
  Models(const Options& options, Session& session) : options_(options), session_(session) {
    std::vector<std::vector<std::string>> names = names_of(options);
    for (std::size_t i = 0; i < options.models.size(); ++i) {
      const std::string& path = options.models[i];
      const SourceModel& model = opened_.emplace_back(SourceModel::open(path));
      model.require_parts();  // rather than when it is first asked for
      const auto& chat_template =
          templates_.emplace_back(open_template(model, names[i].front(), options.chat, session));
      const std::size_t most = model.config().context;
      if (options.context > 0) refuse_longer_than_context(options.context, most, "--context");
      const std::size_t context = options.context > 0 ? options.context : std::min(most, kLongestByDefault);
      ServedModel& facts = facts_.emplace_back(
          facts_of(options, model, std::move(names[i]), chat_template ? &*chat_template : nullptr, context));
      facts.kv = kv_type_name(kv_type(i));
      session.note_reading(model);
      session.note_unused_activations(path, model);
    }
    session.machine();  // made by this thread, which tells what it is
  }

  const std::vector<ServedModel>& facts() const noexcept { return facts_; }

  std::vector<serve::PooledModel> pooled(std::uint64_t memory) {
    std::uint64_t all_weights = 0;
    for (const ServedModel& facts : facts_) all_weights += facts.bytes;
    std::vector<serve::PooledModel> models;
    for (std::size_t i = 0; i < facts_.size(); ++i) {
      const std::uint64_t caches = planned_caches(i, memory, all_weights);
      models.push_back(
          {.name = facts_[i].names.front(),
           .bytes = facts_[i].bytes + caches,
           .judge = [this, i] { opened_[i].require_unchanged(); },
           .load = [this, i, caches](const ProgressCallback& progress) { return load(i, caches, progress); }});
    }
    return models;
  }

 private:
  KvType kv_type(std::size_t model) const { return session_.kv().value_or(default_kv_type(opened_[model])); }

  // What a text's cache takes when it is full.
  std::uint64_t bytes_of_text(std::size_t model) const {
    const MemoryPlan plan = plan_memory(
        {.model = options_.models[model], .memory = 1, .context = facts_[model].context, .formats = {"f16"}});
    const KvType type = kv_type(model);
    const std::uint64_t of_type = type == KvType::f32       ? 2 * plan.cache_bytes[0]
                                  : type == KvType::f16     ? plan.cache_bytes[0]
                                  : kv_code_bits(type) == 8 ? plan.cache_bytes[1]
                                                            : plan.cache_bytes[2];
    return of_type + plan.saved_bytes;
  }

  // An equal share of what all weights leave, or half of what its own do where they do not lie there together.
  std::uint64_t planned_caches(std::size_t model, std::uint64_t memory, std::uint64_t all_weights) const {
    if (!options_.memory.empty()) return bytes_of_option(options_.memory, "--memory");
    if (memory == kAnyMemory) return 0;  // known once it is loaded
    const std::uint64_t one = bytes_of_text(model), own = facts_[model].bytes;
    const std::uint64_t share =
        all_weights < memory ? (memory - all_weights) / facts_.size() : (memory - std::min(own, memory)) / 2;
    return std::max(one, std::min(one * (options_.parallel + options_.held), share));
  }

  std::shared_ptr<serve::LoadedModel> load(std::size_t i, std::uint64_t caches, const ProgressCallback& progress) {
    const SourceModel& model = opened_[i];
    std::unique_ptr<Decoder> decoder;
    {
      const std::lock_guard turn(turns_);
      decoder = std::make_unique<Decoder>(model, DecoderOptions{session_.running_kernels(), session_.kv(), progress},
                                          session_.machine());
    }
    const std::size_t context = facts_[i].context;
    const std::uint64_t one = serve::BatchLoop::bytes_of_sequence(*decoder, context);
    // Without a bound of its own it is half of what there is once the weights are there: a page more for one sequence
    // is a page less for another, and the rest is the system's.
    if (options_.memory.empty() && caches > 0)
      caches = serve::caches_beside(facts_[i].bytes + caches, decoder->resident_bytes(), one);
    if (caches == 0)
      caches = std::max(one, std::min(one * (options_.parallel + options_.held), available_memory() / 2));
    return std::make_shared<serve::LoadedModel>(
        std::move(decoder), model.tokenizer(),
        serve::SchedulerOptions{.limits = {.context = context,
                                           .most_sequences = options_.parallel,
                                           .most_held = options_.held,
                                           .memory = caches},
                                .queue = options_.queue,
                                .turns = facts_.size() > 1 ? &turns_ : nullptr});
  }

  const Options& options_;
  Session& session_;
  std::deque<SourceModel> opened_;
  std::deque<std::optional<ModelTemplate>> templates_;
  std::vector<ServedModel> facts_;
  serve::Turns turns_;  // they share the machine
};

// A connection is a descriptor, and the rest needs some, too.
std::size_t connections_that_fit(std::size_t wanted) {
  constexpr std::size_t kOthers = 64;
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) != 0) return wanted;
  const rlimit raised{.rlim_cur = files.rlim_max, .rlim_max = files.rlim_max};
  const std::size_t all = setrlimit(RLIMIT_NOFILE, &raised) == 0 ? raised.rlim_cur : files.rlim_cur;
  return std::min(wanted, all > 2 * kOthers ? all - kOthers : std::max<std::size_t>(all / 2, 1));
}

std::string log_line(const Json& line) {
  const auto now = std::chrono::time_point_cast<std::chrono::seconds>(std::chrono::system_clock::now());
  Json whole = {{"time", fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(now))}};
  whole.update(line);
  return serve::line_of(whole);
}

Json log_of(const serve::PoolEvent& event) {
  Json line = {{"event", event.is_loaded       ? "loaded"
                         : event.error.empty() ? "unloaded"
                                               : "not loaded"},
               {"model", event.model},
               {"seconds", event.seconds},
               {"bytes", event.bytes}};
  if (!event.error.empty()) line["error"] = event.error;
  return line;
}

std::string greeting(const Options& options, const Models& models, const serve::ModelPool& pool, std::uint16_t port) {
  const std::string host =
      options.address.host.find(':') == std::string::npos ? options.address.host : "[" + options.address.host + "]";
  const std::string address = fmt::format("serves {} at {}://{}:{}/v1", serve::list_names(models.facts()),
                                          options.address.tls ? "https" : "http", host, port);
  if (models.facts().size() == 1)
    return fmt::format(
        "{} ({} texts at once, {} tokens of context each, {} of keys and values at most); Ctrl-C ends it", address,
        options.parallel, grouped_text(models.facts().front().context), bytes_text(pool.state(0).memory));
  return fmt::format(
      "{} (each loaded when it is first asked for, {} of memory for all, {} texts of each at once); Ctrl-C "
      "ends it",
      address, bytes_text(pool.memory()), options.parallel);
}

// A file that is no certificate leaves the server with the one that it has.
void renew_certificate(serve::TlsFiles& files, serve::HttpServer& server, const serve::LogCallback& log) {
  try {
    std::shared_ptr<serve::TlsContext> renewed = files.look_again();
    if (!renewed) return;
    server.renew(std::move(renewed));
    log({{"event", "certificate renewed"}});
  } catch (const std::exception& error) {
    log({{"event", "certificate not renewed"}, {"error", error.what()}});
  }
}

void serve_models(Options& options, Session& session) {
  judge_access(options);
  serve::require_http_server();  // before a model is loaded for nothing
  std::optional<serve::TlsFiles> certificate;
  if (!options.tls_certificate.empty()) {
    certificate.emplace(options.tls_certificate, options.tls_key);
    options.address.tls = certificate->tls();
  }
  Models models(options, session);
  const bool has_budget = !options.budget.empty() || models.facts().size() > 1;
  // Something is the system's, and what a step computes with is beside weights and caches.
  const std::uint64_t memory = !options.budget.empty() ? bytes_of_option(options.budget, "--budget")
                               : has_budget            ? available_memory() / 10 * 9
                                                       : kAnyMemory;
  serve::LineWriter lines(STDERR_FILENO);
  const auto log = [&lines](const Json& line) { lines.add(log_line(line)); };
  serve::ModelPool pool(models.pooled(memory), {.memory = memory,
                                                .most_waiting = options.parallel + options.queue,
                                                .on_event = [&](const serve::PoolEvent& event) {
                                                  if (!options.quiet) log(log_of(event));
                                                }});
  if (models.facts().size() == 1) pool.load(0, session.progress());
  session.end_progress();
  serve::ApiServer api(models.facts(), pool, options.rules, options.quiet ? serve::LogCallback() : log);
  serve::HttpLimits limits;
  limits.connections = connections_that_fit(limits.connections);
  if (limits.connections < serve::HttpLimits().connections)
    session.note(fmt::format("note: at most {} connections at once, as many as the limit of open files leaves",
                             limits.connections));
  serve::HttpServer server(options.address, limits, api);
  api.count_connections([&server] { return server.connections(); });
  server.start();
  session.note(greeting(options, models, pool, server.port()));
  constexpr std::chrono::seconds kLookAgain{2};  // at the certificate's files
  for (auto looked = std::chrono::steady_clock::now(); !interrupted();) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    const auto now = std::chrono::steady_clock::now();
    if (!certificate || now < looked + kLookAgain) continue;
    looked = now;
    renew_certificate(*certificate, server, log);
  }
  // Where nobody reads standard error, a note would not let it end.
  lines.add(fmt::format("nibble: ends when what was begun is done, but in {} s at the latest", options.drain_seconds));
  server.close();
  const bool all = pool.drain(std::chrono::seconds(options.drain_seconds));
  server.stop(std::chrono::seconds(2));
  if (!all) lines.add("nibble: some answers were not finished in time");
}

}  // namespace

void add_serve(CLI::App& app, Session& session) {
  const auto options = std::make_shared<Options>();
  CLI::App* const verb =
      app.add_subcommand("serve", "Answer requests over HTTP, as OpenAI's interface and llama-server do");
  verb->footer(
      "Examples:\n  nibble serve small.gguf\n  nibble serve small.gguf --port 8081 --parallel 16 --context 8192\n"
      "  nibble serve small.gguf --host 0.0.0.0 --api-key-file keys.txt\n"
      "  nibble serve small.gguf --host 0.0.0.0 --api-key-file keys.txt --tls-cert server.crt --tls-key server.key\n"
      "  nibble serve small.gguf large.gguf --budget 24GB\n"
      "  curl http://127.0.0.1:8080/v1/chat/completions -d '{\"messages\": [{\"role\": \"user\", \"content\": "
      "\"Hello\"}]}'\n\nA browser finds a page for people at the same address. Each request gets the same text alone "
      "and beside others. SIGTERM and Ctrl-C end the server when what was begun is done.\nNIBBLE_API_KEY holds a key, "
      "besides those of --api-key-file.");
  verb->add_option("model", options->models,
                   "Hugging Face directories or .gguf; of several each is loaded when it is first asked for")
      ->required();
  verb->add_option("--host", options->address.host, "Address to listen on")->capture_default_str();
  verb->add_option("--port", options->address.port, "Port, up to 65535 (0: any that is free)")
      ->check(count_within(0, 65535))
      ->capture_default_str();
  verb->add_option("--api-key-file", options->key_file, "File of keys, a line each, one of which a request must bring");
  verb->add_flag("--no-auth", options->no_auth, "Serve other machines without a key");
  CLI::Option* const certificate =
      verb->add_option("--tls-cert,--ssl-cert-file", options->tls_certificate,
                       "HTTPS: file of the server's certificate in PEM, those that signed it behind it");
  CLI::Option* const key = verb->add_option("--tls-key,--ssl-key-file", options->tls_key,
                                            "The certificate's private key in PEM, without a passphrase");
  certificate->needs(key);
  key->needs(certificate);
  verb->add_option("--allow-host", options->rules.hosts,
                   "A name that the server is reached by, besides addresses and localhost (may be given several times)")
      ->allow_extra_args(false);
  verb->add_option("--allow-origin", options->rules.origins,
                   "Origin whose pages may use the server, as https://example.org (may be given several times)")
      ->allow_extra_args(false);
  verb->add_option("--alias", options->names,
                   "Name of the model in requests (default: its file's; may be given several times, and of several "
                   "models once for each, in their order)")
      ->allow_extra_args(false);
  verb->add_option("--parallel", options->parallel, "Texts that are made at the same time")
      ->check(count_within(1, 1024))
      ->capture_default_str();
  verb->add_option("--queue", options->queue, "Texts that wait for that; further ones are refused")
      ->check(count_within(0, 1U << 20U))
      ->capture_default_str();
  verb->add_option("--context", options->context,
                   "Room for each text with its prompt in tokens (default: the model's own, at most 32768)")
      ->check(count_within(1, std::uint64_t{1} << 31));
  verb->add_option(
      "--memory", options->memory,
      "For keys and values, recurrent states and points to go back to of all texts, those held for what comes next too "
      "(default: half of what is free); of several models for each (default: a share of what their weights leave)");
  verb->add_option("--budget", options->budget,
                   "For weights and caches of all models that are loaded at the same time: those used longest ago make "
                   "room for others (default, of several models: nine tenths of what is free)");
  verb->add_option("--held", options->held, "Texts that are held for what comes next; 0: none")
      ->check(count_within(0, 1U << 16U))
      ->capture_default_str();
  verb->add_option("--drain", options->drain_seconds, "Seconds that answers have to end when the server does")
      ->check(count_within(0, 86400))
      ->capture_default_str();
  verb->add_flag("-q,--quiet", options->quiet, "No line on standard error for each request");
  add_template_options(*verb, options->chat);
  add_sampler(*verb, options->sampler);
  session.add_engine(*verb);
  verb->callback([options, &session] { serve_models(*options, session); });
}

}  // namespace nibble::cli
