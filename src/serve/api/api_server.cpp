// SPDX-License-Identifier: Apache-2.0
#include "serve/api/api_server.h"

#include <fmt/format.h>

#include <array>
#include <utility>

#include "base/elapsed.h"
#include "base/utf8.h"
#include "nibble/model.h"
#include "serve/api/chat_request.h"
#include "serve/api/messages_request.h"
#include "serve/api/metrics_text.h"
#include "serve/api/openapi.h"
#include "serve/api/tool_fields.h"
#include "serve/page/page.h"

namespace nibble::serve {

namespace {

constexpr std::size_t kPreparing = 2, kMostPrepared = 256;
constexpr unsigned kMostRetrySeconds = 60, kDrainRetrySeconds = 5;

// Adds headers to whatever is answered.
class HeadedExchange final : public HttpExchange {
 public:
  HeadedExchange(std::shared_ptr<HttpExchange> inner, HttpHeaders headers)
      : inner_(std::move(inner)), headers_(std::move(headers)) {}
  void answer(HttpAnswer answer) override { inner_->answer(with_headers(std::move(answer))); }
  void begin_stream(HttpAnswer head, std::string ping) override {
    inner_->begin_stream(with_headers(std::move(head)), std::move(ping));
  }
  void send(std::string piece) override { inner_->send(std::move(piece)); }
  void end_stream() override { inner_->end_stream(); }
  void on_gone(std::function<void()> callback) override { inner_->on_gone(std::move(callback)); }

 private:
  HttpAnswer with_headers(HttpAnswer answer) const {
    answer.headers.insert(answer.headers.end(), headers_.begin(), headers_.end());
    return answer;
  }
  std::shared_ptr<HttpExchange> inner_;
  HttpHeaders headers_;
};

}  // namespace

struct ApiServer::Call : std::enable_shared_from_this<Call> {
  HttpRequest request;
  std::shared_ptr<HttpExchange> exchange;
  std::string id;
  Clock::time_point start = Clock::now();
  std::string model{};  // which one, where there are several

  // Of one that asks for texts: where it waits or is at work, for when its client leaves.
  std::mutex mutex{};
  bool is_gone = false;
  std::size_t pooled = 0;
  std::weak_ptr<LoadedModel> loaded{};
  std::optional<Ticket> ticket{};
  ModelPool::Waiter waiter = 0;
  std::weak_ptr<Answer> begun{};  // tells its errors, too

  void answer(const Json& json) const { exchange->answer({.body = line_of(json)}); }
};

struct ApiServer::Route {
  std::string_view path;  // with a '*' at its end: anything may follow
  std::string_view method;
  void (ApiServer::*answer)(Call& call);
  bool needs_key = true, is_quick = true;

  bool is_of(std::string_view asked) const {
    return path.ends_with('*') ? asked.starts_with(path.substr(0, path.size() - 1)) && asked.size() >= path.size()
                               : asked == path;
  }
};

std::span<const ApiServer::Route> ApiServer::routes() {
  static constexpr auto kRoutes = std::to_array<Route>({
      {"/health", "GET", &ApiServer::health, false},
      {"/v1/health", "GET", &ApiServer::health, false},
      {"/", "GET", &ApiServer::page, false},
      {"/page/*", "GET", &ApiServer::page, false},
      {"/openapi.json", "GET", &ApiServer::openapi, false},
      {"/props", "GET", &ApiServer::props},
      {"/slots", "GET", &ApiServer::slots},
      {"/metrics", "GET", &ApiServer::metrics},
      {"/v1/models", "GET", &ApiServer::models},
      {"/models", "GET", &ApiServer::models},
      {"/v1/models/*", "GET", &ApiServer::one_model},
      {"/v1/chat/completions", "POST", &ApiServer::generate<ask_chat>, true, false},
      {"/chat/completions", "POST", &ApiServer::generate<ask_chat>, true, false},
      {"/v1/completions", "POST", &ApiServer::generate<ask_text>, true, false},
      {"/completions", "POST", &ApiServer::generate<ask_text>, true, false},
      {"/v1/responses", "POST", &ApiServer::generate<ask_responses>, true, false},
      {"/v1/messages", "POST", &ApiServer::generate<ask_messages>, true, false},
      {"/v1/messages/count_tokens", "POST", &ApiServer::count_tokens, true, false},
      {"/tokenize", "POST", &ApiServer::tokenize, true, false},
      {"/detokenize", "POST", &ApiServer::detokenize, true, false},
      {"/apply-template", "POST", &ApiServer::apply_template, true, false},
  });
  return kRoutes;
}

// other_methods: of a path that there is with other methods only.
const ApiServer::Route* ApiServer::find_route(std::string_view path, std::string_view method,
                                              std::string* other_methods) {
  if (method == "HEAD") method = "GET";
  for (const Route& route : routes()) {
    if (!route.is_of(path)) continue;
    if (route.method == method) return &route;
    if (other_methods != nullptr) *other_methods = route.method;
  }
  return nullptr;
}

ApiServer::ApiServer(std::span<const ServedModel> models, ModelPool& pool, AccessRules rules, LogCallback log)
    : models_(models),
      pool_(pool),
      access_(std::move(rules)),
      log_(std::move(log)),
      run_id_([] {
        std::random_device device;
        return (std::uint64_t{device()} << 32U) | device();
      }()),
      work_(kPreparing, kMostPrepared) {}

ApiServer::~ApiServer() { pool_.drain(std::chrono::milliseconds(0)); }

std::string ApiServer::new_id() { return fmt::format("{:016x}{:08x}", run_id_, ++last_id_); }

HttpAnswer ApiServer::refuse(int status, std::string_view why) {
  log_refusal({}, status, why);
  return error_answer({status, std::string(why)});
}

std::optional<HttpAnswer> ApiServer::judge_head(const HttpRequest& head) {
  std::string other_methods;
  const Route* const route = find_route(head.path, head.method, &other_methods);
  // What is not there, everybody may know.
  std::optional<ApiError> refusal = access_.judge(head, route != nullptr && route->needs_key);
  HttpHeaders headers = access_.headers_for(head);
  if (!refusal && head.method == "OPTIONS" && !headers.empty())
    return HttpAnswer{.status = 204, .body = "", .headers = headers};
  if (!refusal && route == nullptr)
    refusal = other_methods.empty()
                  ? ApiError(404, fmt::format("there is nothing at {}", head.path), "", "not_found")
                  : ApiError(405, fmt::format("{} takes {}, not {}", head.path, other_methods, head.method));
  if (!refusal) return std::nullopt;
  log_refusal(head, refusal->status(), refusal->what());
  HttpAnswer answer = error_answer(*refusal);
  if (refusal->status() == 405) headers.emplace_back("Allow", other_methods);
  answer.headers.insert(answer.headers.end(), headers.begin(), headers.end());
  return answer;
}

void ApiServer::handle(HttpRequest request, std::shared_ptr<HttpExchange> exchange) {
  const Route& route = *find_route(request.path, request.method, nullptr);
  const auto call = std::make_shared<Call>();
  call->id = new_id();
  HttpHeaders headers = access_.headers_for(request);
  headers.emplace_back("X-Request-Id", call->id);
  call->exchange = std::make_shared<HeadedExchange>(std::move(exchange), std::move(headers));
  call->request = std::move(request);
  if (route.is_quick) return run(route, call);
  if (work_.add([this, &route, call] { run(route, call); })) return;
  call->exchange->answer(error_answer({429, "too many requests at once; try again later"}, 1));
  log(*call, {.status = 429});
}

void ApiServer::run(const Route& route, const std::shared_ptr<Call>& call) {
  try {
    (this->*route.answer)(*call);
  } catch (const std::exception& error) {
    fail(*call, error);
  }
}

void ApiServer::fail(const Call& call, const std::exception& error) {
  const ApiError told = api_error_of(error);
  unsigned wait = 0;
  if (told.status() == 503) wait = kDrainRetrySeconds;
  if (told.status() == 429)
    wait = static_cast<unsigned>(
        std::min<std::size_t>(1 + texts_waiting() / models_.front().most_sequences, kMostRetrySeconds));
  log(call, {.status = told.status(), .error = told.what()});
  if (const auto answer = call.begun.lock()) return answer->fail(told, wait);
  call.exchange->answer(error_answer(told, wait));
}

// --- which model -----------------------------------------------------------------------------------------------------

std::size_t ApiServer::model_named(std::string_view name) const {
  for (std::size_t i = 0; i < models_.size(); ++i)
    if (std::ranges::find(models_[i].names, name) != models_[i].names.end()) return i;
  throw ApiError(404, fmt::format("there is no model '{}' here, but {}", name, list_names(models_)), "model",
                 "model_not_found");
}

std::size_t ApiServer::model_of(const Json& body) const {
  const std::string name = RequestFields(body).text("model", "");
  if (!name.empty()) return model_named(name);
  if (models_.size() == 1) return 0;
  throw ApiError(400, fmt::format("model is missing: this server has {}", list_names(models_)), "model");
}

std::size_t ApiServer::model_of_query(const Call& call) const {
  const std::optional<std::string> name = call.request.query_field("model");
  return name ? model_named(*name) : 0;
}

std::size_t ApiServer::texts_waiting() const {
  std::size_t texts = 0;
  for (std::size_t i = 0; i < models_.size(); ++i) texts += pool_.state(i).waiting;
  return texts;
}

// --- texts -----------------------------------------------------------------------------------------------------------

void ApiServer::generate(Call& call, Ask ask) {
  const Json body = parse_body(call.request.body);
  const std::size_t model = model_of(body);
  if (models_.size() > 1) call.model = models_[model].names.front();
  Asked asked = ask(body, models_[model], call.exchange, call.id);
  const std::size_t texts = asked.requests.size(), most = models_[model].most_together;
  if (texts > most)
    throw ApiError(400, fmt::format("this asks for {} texts, and at most {} are made at once", texts, most));
  for (GenerationRequest& request : asked.requests) request.asked = call.start;
  std::string().swap(call.request.body);  // clear() would keep its memory while the texts are made
  HttpHeaders().swap(call.request.headers);
  const std::shared_ptr<Call> held = call.shared_from_this();
  const std::shared_ptr<Answer> answer = asked.answer;
  answer->on_end([this, held](const AnswerSummary& summary) { log(*held, summary); });
  call.pooled = model;
  call.begun = answer;
  call.exchange->on_gone([this, weak = std::weak_ptr(held)] {
    if (const auto there = weak.lock()) leave(*there);
  });
  const std::optional<ModelPool::Waiter> waiter = pool_.use(
      model, texts,
      [this, held, asked = std::make_shared<Asked>(std::move(asked))](const std::shared_ptr<LoadedModel>& loaded) {
        submit(*held, *asked, loaded);
      },
      [this, held](const std::exception_ptr& error) {
        try {
          if (!error) throw ApiError(503, "the server is shutting down");
          std::rethrow_exception(error);
        } catch (const std::exception& told) {
          fail(*held, told);
        }
      });
  if (!waiter && pool_.drains()) throw ApiError(503, "the server is shutting down");
  if (!waiter) throw ApiError(429, "too many texts wait for the model; try again later", "", "queue_full");
  if (*waiter == 0) return;
  answer->begin();  // it is kept alive from here on
  std::unique_lock lock(held->mutex);
  held->waiter = *waiter;
  const bool is_gone = held->is_gone;
  lock.unlock();
  if (is_gone) leave(*held);
}

void ApiServer::submit(Call& call, Asked& asked, const std::shared_ptr<LoadedModel>& loaded) {
  const std::lock_guard lock(call.mutex);  // of this and leave() the second sees the first
  if (call.is_gone) return log(call, {.status = 503, .finish = "cancelled"});
  Scheduler& scheduler = loaded->scheduler;
  const std::optional<Ticket> ticket = scheduler.submit(
      std::move(asked.requests), [answer = asked.answer](const GenerationEvent& event) { answer->take(event); });
  if (!ticket) {
    if (scheduler.state().drains) throw ApiError(503, "the server is shutting down");
    throw ApiError(429, "the queue is full; try again later", "", "queue_full");
  }
  call.loaded = loaded;
  call.ticket = *ticket;
  asked.answer->begin();
}

void ApiServer::leave(Call& call) {
  std::optional<Ticket> ticket;
  ModelPool::Waiter waiter = 0;
  {
    const std::lock_guard lock(call.mutex);
    call.is_gone = true;
    ticket = call.ticket;
    waiter = call.waiter;
  }
  if (ticket)
    pool_.cancel(call.loaded, *ticket);
  else if (waiter > 0 && pool_.forget(call.pooled, waiter))
    log(call, {.status = 503, .finish = "cancelled"});
}

void ApiServer::count_tokens(Call& call) {
  const Json body = parse_body(call.request.body);
  const ServedModel& model = models_[any_model_of(body)];
  const Json chat = chat_of_messages(body, false);
  const RequestFields fields(chat);
  const RenderedChat rendered = render_chat(read_conversation(fields, read_tools(fields).told, model), model);
  call.answer({{"input_tokens", rendered.ids.size()}});
}

void ApiServer::tokenize(Call& call) {
  const Json body = parse_body(call.request.body);
  const RequestFields fields(body);
  const Tokenizer& tokenizer = *models_[any_model_of(body)].tokenizer;
  const std::string content = fields.text("content", "");
  const std::vector<std::int32_t> ids = tokenizer.encode(
      content, {.add_special = fields.flag("add_special", false), .parse_special = fields.flag("parse_special", true)});
  if (!fields.flag("with_pieces", false)) return call.answer({{"tokens", ids}});
  Json tokens = Json::array();
  for (const std::int32_t id : ids) {
    const std::string piece = tokenizer.piece(id);
    Json shown = piece;
    if (find_invalid_utf8(piece) != std::string::npos) {
      shown = Json::array();
      for (const char c : piece) shown.push_back(static_cast<unsigned char>(c));
    }
    tokens.push_back({{"id", id}, {"piece", std::move(shown)}});
  }
  call.answer({{"tokens", std::move(tokens)}});
}

void ApiServer::detokenize(Call& call) {
  const Json body = parse_body(call.request.body);
  const Json* const tokens = RequestFields(body).find("tokens");
  if (tokens == nullptr) throw ApiError(400, "tokens is missing: a list of token ids", "tokens");
  const Tokenizer& tokenizer = *models_[any_model_of(body)].tokenizer;
  call.answer({{"content", replace_invalid_utf8(tokenizer.decode(RequestFields::ids(*tokens, "tokens")))}});
}

void ApiServer::apply_template(Call& call) {
  const Json body = parse_body(call.request.body);
  const RequestFields fields(body);
  const ServedModel& model = models_[any_model_of(body)];
  call.answer({{"prompt", render_chat(read_conversation(fields, read_tools(fields).told, model), model).text}});
}

// --- how things are --------------------------------------------------------------------------------------------------

void ApiServer::health(Call& call) {
  if (pool_.drains()) throw ApiError(503, "the server is shutting down");
  call.answer({{"status", "ok"}});
}

void ApiServer::page(Call& call) {
  std::optional<HttpAnswer> answer = page_answer(call.request);
  if (!answer) throw ApiError(404, fmt::format("there is nothing at {}", call.request.path), "", "not_found");
  call.exchange->answer(std::move(*answer));
}

void ApiServer::openapi(Call& call) { call.exchange->answer({.body = openapi_files().front().text()}); }

void ApiServer::props(Call& call) {
  const std::size_t index = model_of_query(call);
  const ServedModel& model = models_[index];
  const WeightFacts& facts = model.weights;
  Json formats = Json::array();
  for (const FormatShare& share : facts.formats)
    formats.push_back({{"format", share.format},
                       {"tensors", share.tensors},
                       {"parameters", share.parameters},
                       {"bytes", share.bytes}});
  call.answer({{"default_generation_settings",
                {{"n_ctx", model.context},
                 {"params",
                  {{"temperature", model.sampler.temperature},
                   {"top_k", model.sampler.top_k},
                   {"top_p", model.sampler.top_p},
                   {"min_p", model.sampler.min_p},
                   {"repeat_penalty", model.sampler.repetition_penalty}}}}},
               {"total_slots", model.most_sequences},
               {"model_alias", model.names.front()},
               {"chat_template", model.chat_template == nullptr ? Json(nullptr) : Json(model.chat_template->text())},
               {"build_info", "nibble " + std::string(version())},
               {"kv_cache", model.kv},
               {"weights",
                {{"architecture", facts.architecture},
                 {"bits_per_weight", facts.bits_per_weight},
                 {"activations", facts.activations},
                 {"quantizer", facts.quantizer},
                 {"formats", std::move(formats)},
                 {"verdict", facts.verdict}}}});
}

Json ApiServer::slots_of(std::size_t model) const {
  const SchedulerState state = pool_.state(model);
  Json slots = Json::array();
  for (std::size_t i = 0; i < models_[model].most_sequences; ++i) {
    Json slot = {{"id", i}, {"n_ctx", models_[model].context}, {"is_processing", i < state.sequences.size()}};
    if (models_.size() > 1) slot["model"] = models_[model].names.front();
    if (i < state.sequences.size()) {
      const SequenceFacts& facts = state.sequences[i];
      slot.update({{"id_task", facts.ticket},
                   {"n_prompt_tokens", facts.prompt_tokens},
                   {"n_prompt_tokens_cache", facts.cached_tokens},
                   {"n_past", facts.read_tokens},
                   {"n_decoded", facts.new_tokens}});
    }
    slots.push_back(std::move(slot));
  }
  return slots;
}

// Of a model that is named, or of all that are loaded.
void ApiServer::slots(Call& call) {
  const bool names_one = models_.size() == 1 || call.request.query_field("model").has_value();
  Json slots = names_one ? slots_of(model_of_query(call)) : Json::array();
  for (std::size_t i = 0; i < models_.size() && !names_one; ++i)
    if (pool_.bytes(i) > 0)
      for (Json& slot : slots_of(i)) slots.push_back(std::move(slot));
  if (call.request.query_field("fail_on_no_slot") == "1" && !slots.empty() &&
      std::ranges::all_of(slots, [](const Json& slot) { return slot["is_processing"].get<bool>(); }))
    throw ApiError(503, "all slots are at work");
  call.answer(slots);
}

void ApiServer::metrics(Call& call) {
  std::vector<ModelState> states;
  for (std::size_t i = 0; i < models_.size(); ++i)
    states.push_back({.model = models_.size() > 1 ? models_[i].names.front() : std::string(),
                      .state = pool_.state(i),
                      .bytes = pool_.bytes(i),
                      .loads = pool_.loads(i)});
  call.exchange->answer({.content_type = "text/plain; version=0.0.4; charset=utf-8",
                         .body = metrics_text(states, connections_ ? connections_() : 0)});
}

Json ApiServer::model_json(std::size_t index) const {
  const ServedModel& model = models_[index];
  return {{"id", model.names.front()},
          {"object", "model"},
          {"created", model.created},
          {"owned_by", "nibble"},
          {"status", {{"value", place_name(pool_.place(index))}}},
          {"meta",
           {{"n_ctx", model.context},
            {"n_ctx_train", model.trained_context},
            {"n_vocab", model.vocabulary},
            {"n_params", model.parameters},
            {"size", model.bytes}}}};
}

void ApiServer::models(Call& call) {
  Json list = Json::array();
  for (std::size_t i = 0; i < models_.size(); ++i) list.push_back(model_json(i));
  call.answer({{"object", "list"}, {"data", std::move(list)}});
}

void ApiServer::one_model(Call& call) {
  call.answer(model_json(model_named(
      percent_decoded(std::string_view(call.request.path).substr(std::string_view("/v1/models/").size())))));
}

// --- the log ---------------------------------------------------------------------------------------------------------

void ApiServer::log(const Call& call, const AnswerSummary& summary) {
  if (!log_) return;
  const AnswerUsage& usage = summary.usage;
  Json line = {{"event", "request"},
               {"id", call.id},
               {"peer", call.request.peer},
               {"method", call.request.method},
               {"path", call.request.path},
               {"status", summary.status},
               {"seconds", seconds_since(call.start)}};
  if (!call.model.empty()) line["model"] = call.model;
  if (!summary.finish.empty()) {
    line["finish"] = summary.finish;
    line["prompt_tokens"] = usage.prompt_tokens;
    line["cached_tokens"] = usage.cached_tokens;
    line["prefix"] = reuse_name(usage.first.reuse);
    line["new_tokens"] = usage.new_tokens;
    line["queue_seconds"] = usage.first.queue_seconds;
    line["prompt_seconds"] = usage.first.prompt_seconds;
    line["decode_seconds"] = usage.first.decode_seconds;
    if (usage.first.preemptions > 0) line["preemptions"] = usage.first.preemptions;
  }
  if (!summary.error.empty()) line["error"] = summary.error;
  const std::lock_guard lock(log_mutex_);
  log_(line);
}

void ApiServer::log_refusal(const HttpRequest& request, int status, std::string_view why) {
  if (!log_) return;
  Json line = {{"event", "refused"}, {"status", status}, {"error", why}};
  if (!request.path.empty()) line.update({{"peer", request.peer}, {"method", request.method}, {"path", request.path}});
  const std::lock_guard lock(log_mutex_);
  log_(line);
}

void ApiServer::note_unheard(std::string_view peer, std::string_view why) {
  if (!log_) return;
  const std::lock_guard lock(log_mutex_);
  log_({{"event", "unheard"}, {"peer", peer}, {"error", why}});
}

}  // namespace nibble::serve
