// SPDX-License-Identifier: Apache-2.0
//
// The interface that clients of OpenAI's and of llama-server know, over the models of a pool. docs/serving.md lists
// what there is. Safe from many threads.
//
//   ApiServer api(models, pool, rules, [](const Json& line) { ... });
//   HttpServer server(address, limits, api);
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <random>
#include <span>
#include <string>

#include "serve/api/access.h"
#include "serve/api/asked.h"
#include "serve/api/served_model.h"
#include "serve/model_pool.h"
#include "serve/work_queue.h"

namespace nibble::serve {

// A line for each request that is done; from any thread, one at a time.
using LogCallback = std::function<void(const Json& line)>;

class ApiServer final : public HttpHandler {
 public:
  // models: as those of the pool, in that order. Both must outlive this.
  ApiServer(std::span<const ServedModel> models, ModelPool& pool, AccessRules rules, LogCallback log);
  ~ApiServer() override;  // behind the pool's drain: nothing is left that would tell it of its end

  std::optional<HttpAnswer> judge_head(const HttpRequest& head) override;
  void handle(HttpRequest request, std::shared_ptr<HttpExchange> exchange) override;
  HttpAnswer refuse(int status, std::string_view why) override;
  void note_unheard(std::string_view peer, std::string_view why) override;

  // What /metrics tells of the network.
  void count_connections(std::function<std::size_t()> count) { connections_ = std::move(count); }

 private:
  struct Call;
  struct Route;
  using Ask = Asked (*)(const Json&, const ServedModel&, std::shared_ptr<HttpExchange>, const std::string&);
  static std::span<const Route> routes();
  static const Route* find_route(std::string_view path, std::string_view method, std::string* other_methods);
  void run(const Route& route, const std::shared_ptr<Call>& call);

  void page(Call& call);
  void health(Call& call);
  void openapi(Call& call);
  void props(Call& call);
  void slots(Call& call);
  void metrics(Call& call);
  void models(Call& call);
  void one_model(Call& call);
  template <Ask ask>
  void generate(Call& call) {
    generate(call, ask);
  }
  void generate(Call& call, Ask ask);
  void submit(Call& call, Asked& asked, const std::shared_ptr<LoadedModel>& loaded);
  void leave(Call& call);  // its client has
  void fail(const Call& call, const std::exception& error);
  void count_tokens(Call& call);
  void tokenize(Call& call);
  void detokenize(Call& call);
  void apply_template(Call& call);

  // Whom a request asks, by its name for a model: which of models_. ApiError(400 or 404) says what there is.
  std::size_t model_named(std::string_view name) const;
  std::size_t model_of(const Json& body) const;
  // Of what takes no model's name where there is only one, as llama-server does: any is that one's.
  std::size_t any_model_of(const Json& body) const { return models_.size() == 1 ? 0 : model_of(body); }
  std::size_t model_of_query(const Call& call) const;  // none is named: the first
  Json model_json(std::size_t model) const;
  Json slots_of(std::size_t model) const;
  std::size_t texts_waiting() const;
  void log(const Call& call, const AnswerSummary& summary);
  void log_refusal(const HttpRequest& request, int status, std::string_view why);
  std::string new_id();

  std::span<const ServedModel> models_;
  ModelPool& pool_;
  Access access_;
  std::mutex log_mutex_;
  LogCallback log_;
  std::function<std::size_t()> connections_;
  std::uint64_t run_id_;
  std::atomic<std::uint64_t> last_id_ = 0;
  WorkQueue work_;  // the last: what it does uses the others
};

}  // namespace nibble::serve
