// SPDX-License-Identifier: Apache-2.0
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
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
#include "report/number_text.h"
#include "serve/api/api_server.h"
#include "serve/line_writer.h"

namespace nibble::cli {
namespace {

using serve::AccessRules;
using serve::Scheduler;
using serve::ServedModel;

constexpr std::size_t kLongestByDefault = 32768;

struct Options {
  std::string model, key_file, memory;
  std::vector<std::string> names;
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
std::optional<ModelTemplate> open_template(const SourceModel& model, const ChatOptions& options, Session& session) {
  try {
    return ModelTemplate::open(model, options.template_choice, false);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::not_found || !options.template_choice.empty()) throw;
    session.note("note: the model has no chat template, so it continues texts and does not chat; --template gives one");
    return std::nullopt;
  }
}

// Half of what there is once the weights are there: a page more for one sequence is a page less for another, and the
// rest is the system's.
std::uint64_t memory_for_caches(const Options& options, const Decoder& decoder, std::size_t context) {
  if (!options.memory.empty()) return bytes_of_option(options.memory, "--memory");
  const std::uint64_t one = serve::BatchLoop::bytes_of_sequence(decoder, context);
  return std::min(one * (options.parallel + options.held), std::max(available_memory() / 2, one));
}

ServedModel served(const Options& options, const SourceModel& model, const ModelTemplate* chat_template,
                   std::size_t context) {
  const ModelInfo info = describe_model(model);
  ServedModel served;
  served.names = options.names;
  if (served.names.empty()) served.names = {serve::default_model_name(options.model)};
  if (std::ranges::find(served.names, options.model) == served.names.end()) served.names.push_back(options.model);
  served.tokenizer = &model.tokenizer();
  served.chat_template = chat_template;
  served.template_variables = template_variables(options.chat);
  served.sampler = options.sampler;
  served.context = context;
  served.trained_context = model.config().context;
  served.vocabulary = model.config().vocab_size;
  served.parameters = info.parameters;
  served.bytes = info.bytes;
  served.created = std::time(nullptr);
  served.weights = serve::weight_facts(model);
  return served;
}

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

void serve_model(Options& options, Session& session) {
  judge_access(options);
  serve::require_http_server();  // before a model is loaded for nothing
  const SourceModel model = SourceModel::open(options.model);
  const std::optional<ModelTemplate> chat_template = open_template(model, options.chat, session);
  const std::size_t most = model.config().context;
  if (options.context > 0) refuse_longer_than_context(options.context, most, "--context");
  const std::size_t context = options.context > 0 ? options.context : std::min(most, kLongestByDefault);
  const ServedModel facts = served(options, model, chat_template ? &*chat_template : nullptr, context);
  Decoder decoder(model, {session.running_kernels(), session.kv(), session.progress()}, session.machine());
  session.end_progress();
  session.note_reading(model);
  session.note_unused_activations(options.model, model);
  Scheduler scheduler(decoder, model.tokenizer(),
                      {.limits = {.context = context,
                                  .most_sequences = options.parallel,
                                  .most_held = options.held,
                                  .memory = memory_for_caches(options, decoder, context)},
                       .queue = options.queue});
  serve::LineWriter lines(STDERR_FILENO);
  const auto log = [&lines](const Json& line) { lines.add(log_line(line)); };
  serve::ApiServer api(facts, scheduler, options.rules, options.quiet ? serve::LogCallback() : log);
  serve::HttpLimits limits;
  limits.connections = connections_that_fit(limits.connections);
  if (limits.connections < serve::HttpLimits().connections)
    session.note(fmt::format("note: at most {} connections at once, as many as the limit of open files leaves",
                             limits.connections));
  serve::HttpServer server(options.address, limits, api);
  api.count_connections([&server] { return server.connections(); });
  server.start();
  const std::string host =
      options.address.host.find(':') == std::string::npos ? options.address.host : "[" + options.address.host + "]";
  session.note(
      fmt::format("serves '{}' at http://{}:{}/v1 ({} texts at once, {} tokens of context each, {} of keys and "
                  "values at most); Ctrl-C ends it",
                  facts.names.front(), host, server.port(), options.parallel, grouped_text(context),
                  bytes_text(scheduler.state().memory)));
  while (!interrupted()) std::this_thread::sleep_for(std::chrono::milliseconds(50));
  // Where nobody reads standard error, a note would not let it end.
  lines.add(fmt::format("nibble: ends when what was begun is done, but in {} s at the latest", options.drain_seconds));
  server.close();
  const bool all = scheduler.drain(std::chrono::seconds(options.drain_seconds));
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
      "  curl http://127.0.0.1:8080/v1/chat/completions -d '{\"messages\": [{\"role\": \"user\", \"content\": "
      "\"Hello\"}]}'\n\nA browser finds a page for people at the same address. Each request gets the same text alone "
      "and beside others. SIGTERM and Ctrl-C end the server when what was begun is done.\nNIBBLE_API_KEY holds a key, "
      "besides those of --api-key-file.");
  verb->add_option("model", options->model, "Hugging Face directory or .gguf")->required();
  verb->add_option("--host", options->address.host, "Address to listen on")->capture_default_str();
  verb->add_option("--port", options->address.port, "Port (0: any that is free)")->capture_default_str();
  verb->add_option("--api-key-file", options->key_file, "File of keys, a line each, one of which a request must bring");
  verb->add_flag("--no-auth", options->no_auth, "Serve other machines without a key");
  verb->add_option("--allow-host", options->rules.hosts,
                   "A name that the server is reached by, besides addresses and localhost (may be given several times)")
      ->allow_extra_args(false);
  verb->add_option("--allow-origin", options->rules.origins,
                   "Origin whose pages may use the server, as https://example.org (may be given several times)")
      ->allow_extra_args(false);
  verb->add_option("--alias", options->names,
                   "Name of the model in requests (default: its file's; may be given several times)")
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
      "(default: half of what is free)");
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
  verb->callback([options, &session] { serve_model(*options, session); });
}

}  // namespace nibble::cli
