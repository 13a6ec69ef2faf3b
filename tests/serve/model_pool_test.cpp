// SPDX-License-Identifier: Apache-2.0
#include "serve/model_pool.h"

#include <gtest/gtest.h>

#include <future>
#include <thread>

#include "serve/requests.h"
#include "serve/served_api.h"

namespace nibble::serve {
namespace {

using namespace std::chrono_literals;

// Three models that are the same one, of which a memory has room for two.
class Pool : public testing::Test, public ServedTale {
 protected:
  static constexpr std::uint64_t kEach = 1 << 30;

  PooledModel pooled(const std::string& name) {
    return {.name = name, .bytes = kEach, .load = [this, name](const ProgressCallback&) {
              if (name == broken) throw Error(ErrorKind::corrupt, "a tensor is damaged");
              const std::lock_guard turn(turns);  // as a decoder that is made uses the machine
              return std::make_shared<LoadedModel>(std::make_unique<Decoder>(model, exact_options(), machine),
                                                   tokenizer,
                                                   SchedulerOptions{.limits = limits(), .queue = 16, .turns = &turns});
            }};
  }
  std::vector<PooledModel> three() { return {pooled("a"), pooled("b"), pooled("c")}; }
  // Room for two, with what their weights take.
  PoolOptions room_for_two() {
    return {
        .memory = 2 * kEach + kEach / 2, .most_waiting = 16, .retry = 0ms, .on_event = [this](const PoolEvent& event) {
          const std::lock_guard lock(mutex);
          events.push_back(event.model + (event.is_loaded ? "+" : event.error.empty() ? "-" : "!"));
        }};
  }
  GenerationRequest request(const std::string& text, std::size_t tokens) {
    GenerationRequest made;
    made.prompt = encode(text);
    made.max_tokens = tokens;
    made.sampler.temperature = 0;
    made.ignore_end = true;
    return made;
  }
  // A future of the text that a model makes.
  std::future<std::string> ask(ModelPool& pool, std::size_t index, const std::string& text, std::size_t tokens = 8) {
    auto promise = std::make_shared<std::promise<std::string>>();
    auto told = std::make_shared<std::string>();
    auto future = promise->get_future();
    const auto waiter = pool.use(
        index, 1,
        [=, this](const std::shared_ptr<LoadedModel>& loaded) {
          std::vector<GenerationRequest> requests = {request(text, tokens)};
          loaded->scheduler.submit(std::move(requests), [=](const GenerationEvent& event) {
            *told += event.text;
            if (event.finish)
              promise->set_value(*event.finish == FinishReason::length ? *told
                                                                       : std::string(finish_name(*event.finish)));
          });
        },
        [=](const std::exception_ptr& error) {
          if (error)
            promise->set_exception(error);
          else
            promise->set_value("drains");
        });
    if (!waiter) promise->set_value("refused");
    last_waiter = waiter.value_or(0);
    return future;
  }
  std::vector<std::string> seen() {
    const std::lock_guard lock(mutex);
    return events;
  }

  std::string broken;
  ModelPool::Waiter last_waiter = 0;  // of ask
  Turns turns;
  std::mutex mutex;
  std::vector<std::string> events;
};

TEST_F(Pool, LoadsWhatIsAskedForAndUnloadsWhatWasUsedLongestAgo) {
  ModelPool pool(three(), room_for_two());
  EXPECT_EQ(pool.place(0), PoolPlace::unloaded);
  const std::string text = ask(pool, 0, "Once upon a time").get();
  EXPECT_EQ(ask(pool, 1, "Once upon a time").get(), text);
  EXPECT_EQ(ask(pool, 0, "Once upon a time").get(), text);
  EXPECT_EQ(ask(pool, 2, "Once upon a time").get(), text);  // b was used longest ago
  EXPECT_EQ(pool.place(0), PoolPlace::loaded);
  EXPECT_EQ(pool.place(1), PoolPlace::unloaded);
  EXPECT_EQ(pool.place(2), PoolPlace::loaded);
  EXPECT_EQ(ask(pool, 1, "Once upon a time").get(), text);  // now a
  EXPECT_EQ(pool.place(0), PoolPlace::unloaded);
  EXPECT_EQ(pool.bytes(0), 0u);
  EXPECT_GT(pool.bytes(1), kEach);  // with its weights
  EXPECT_EQ(pool.loads(1), 2u);
  // Counts outlive what they are of.
  EXPECT_EQ(pool.state(0).metrics.new_tokens, 16u);
  EXPECT_EQ(pool.state(1).metrics.new_tokens, 16u);
  EXPECT_EQ(pool.state(1).metrics.whole.count(), 2u);
  EXPECT_EQ(seen(), (std::vector<std::string>{"a+", "b+", "b-", "c+", "a-", "b+"}));
}

TEST_F(Pool, NoneGoesWhileItAnswers) {
  ModelPool pool(three(), room_for_two());
  ask(pool, 0, "Tom").get();
  ask(pool, 1, "Tom").get();
  std::future<std::string> first, second, third;
  {
    const std::lock_guard turn(turns);  // no text goes on before the third model is asked for
    first = ask(pool, 0, "Once upon a time", 200);
    second = ask(pool, 1, "She", 200);
    third = ask(pool, 2, "Tom");
  }
  const std::string alone = ask(pool, 1, "She", 200).get();
  EXPECT_GT(first.get().size(), 100u);
  EXPECT_EQ(second.get(), alone);
  EXPECT_FALSE(third.get().empty());
  EXPECT_EQ(pool.state(0).metrics.finished[static_cast<std::size_t>(FinishReason::cancelled)], 0u);
  EXPECT_EQ(pool.state(1).metrics.finished[static_cast<std::size_t>(FinishReason::cancelled)], 0u);
}

// As K-quants do: 148 bytes for 144 of the file.
TEST_F(Pool, WeightsThatTakeMoreThanInTheirFileLeaveCachesLess) {
  EXPECT_EQ(caches_beside(100, 40, 10), 60u);
  EXPECT_EQ(caches_beside(100, 95, 10), 10u);
  EXPECT_EQ(caches_beside(100, 120, 10), 10u);
  const std::uint64_t weights = decoder.resident_bytes(), reckoned = weights * 144 / 148 + limits().memory;
  std::vector<PooledModel> models;
  for (const char* const name : {"a", "b"})
    models.push_back({.name = name, .bytes = reckoned, .load = [=, this](const ProgressCallback&) {
                        auto own = std::make_unique<Decoder>(model, exact_options(), machine);
                        BatchLimits given = limits();
                        given.memory = caches_beside(reckoned, own->resident_bytes(),
                                                     BatchLoop::bytes_of_sequence(*own, given.context));
                        return std::make_shared<LoadedModel>(std::move(own), tokenizer,
                                                             SchedulerOptions{.limits = given, .queue = 16});
                      }});
  ModelPool pool(std::move(models), {.memory = 2 * reckoned});
  for (std::size_t i = 0; i < 4; ++i) EXPECT_FALSE(ask(pool, i % 2, "Tom").get().empty());
  EXPECT_EQ(pool.bytes(0) + pool.bytes(1), 2 * reckoned);
  EXPECT_EQ(pool.loads(0), 1u);
  EXPECT_EQ(pool.loads(1), 1u);
}

TEST_F(Pool, ManyAskForAllAtOnceAndGetWhatTheyGetAlone) {
  ModelPool pool(three(), room_for_two());
  const std::vector<std::string> texts = {"The cat", "A dog", "She said", "Tom", "Once"};
  std::vector<std::string> alone;
  for (const std::string& text : texts) alone.push_back(ask(pool, 0, text).get());
  std::vector<std::future<std::string>> answers;
  for (std::size_t i = 0; i < 30; ++i) answers.push_back(ask(pool, i % 3, texts[i % 5]));
  for (std::size_t i = 0; i < 30; ++i) EXPECT_EQ(answers[i].get(), alone[i % 5]) << i;
}

TEST_F(Pool, WhatNeverFitsIsRefusedAtOnceWithBothSizes) {
  std::vector<PooledModel> models = three();
  models[1].bytes = 5 * kEach;
  try {
    const ModelPool pool(std::move(models), room_for_two());
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::resource);
    EXPECT_STREQ(error.setting(), "budget");
    EXPECT_EQ(std::string(error.what()),
              "'b' needs more memory for its weights and caches than all models may have: 5368709120 bytes of "
              "2684354560");
  }
}

TEST_F(Pool, AModelThatDoesNotLoadFailsItsRequestsAndNoOthers) {
  broken = "b";
  ModelPool pool(three(), room_for_two());
  std::future<std::string> lost = ask(pool, 1, "Tom"), fine = ask(pool, 0, "Tom");
  try {
    lost.get();
    FAIL();
  } catch (const LoadFailure& error) {
    EXPECT_STREQ(error.what(), "model 'b' cannot be loaded: a tensor is damaged");
  }
  EXPECT_FALSE(fine.get().empty());
  EXPECT_EQ(pool.place(1), PoolPlace::unloaded);
  broken.clear();
  EXPECT_FALSE(ask(pool, 1, "Tom").get().empty());
  EXPECT_EQ(seen(), (std::vector<std::string>{"b!", "a+", "b+"}));
}

TEST_F(Pool, WhatCannotBeLoadedUnloadsNothingAndIsNotTriedAgainAtOnce) {
  std::vector<PooledModel> models = three();
  int judged = 0;
  models[2].judge = [&] {
    ++judged;
    throw Error(ErrorKind::corrupt, "a file has changed");
  };
  PoolOptions options = room_for_two();
  options.retry = 1h;
  ModelPool pool(std::move(models), std::move(options));
  ask(pool, 0, "Tom").get();
  ask(pool, 1, "Tom").get();
  for (int i = 0; i < 3; ++i) EXPECT_THROW(ask(pool, 2, "Tom").get(), LoadFailure);
  EXPECT_EQ(judged, 1);
  EXPECT_EQ(seen(), (std::vector<std::string>{"a+", "b+", "c!"}));
}

TEST_F(Pool, WhoIsToldOfAFailureMayAskThePool) {
  broken = "b";
  ModelPool pool(three(), room_for_two());
  std::promise<std::size_t> told;
  pool.use(
      1, 1, [](const std::shared_ptr<LoadedModel>&) {},
      [&](const std::exception_ptr&) { told.set_value(pool.state(1).waiting); });
  EXPECT_EQ(told.get_future().get(), 0u);
  pool.use(
      0, 1, [](const std::shared_ptr<LoadedModel>&) { throw std::runtime_error("not that"); },
      [&](const std::exception_ptr&) { EXPECT_EQ(pool.state(0).waiting, 0u); });
  EXPECT_FALSE(ask(pool, 0, "Tom").get().empty());
}

TEST_F(Pool, WhoLeavesWaitsNoMore) {
  std::promise<void> opened;
  const std::shared_future<void> gate = opened.get_future().share();
  std::vector<PooledModel> models = three();
  models[0].load = [gate, load = models[0].load](const ProgressCallback& progress) {
    gate.wait();
    return load(progress);
  };
  ModelPool pool(std::move(models), room_for_two());
  std::vector<std::future<std::string>> waiting;
  for (int i = 0; i < 16; ++i) waiting.push_back(ask(pool, 0, "Tom", 2));
  EXPECT_TRUE(pool.forget(0, last_waiter));
  EXPECT_FALSE(pool.forget(0, last_waiter));
  EXPECT_EQ(pool.state(0).waiting, 15u);
  waiting.back() = ask(pool, 0, "Tom", 2);
  const std::future<std::string> left = ask(pool, 1, "Tom");  // behind the one that is being loaded
  EXPECT_TRUE(pool.forget(1, last_waiter));
  EXPECT_EQ(pool.place(1), PoolPlace::unloaded);
  opened.set_value();
  for (auto& one : waiting) EXPECT_FALSE(one.get().empty());
  EXPECT_EQ(ask(pool, 2, "Tom").get().empty(), false);
  EXPECT_EQ(seen(), (std::vector<std::string>{"a+", "c+"}));
}

TEST_F(Pool, AsManyWaitAsMayAndADrainedPoolTakesNoMore) {
  std::promise<void> opened;
  const std::shared_future<void> gate = opened.get_future().share();
  std::vector<PooledModel> models = three();
  models[0].load = [gate, load = models[0].load](const ProgressCallback& progress) {
    gate.wait();
    return load(progress);
  };
  ModelPool pool(std::move(models), room_for_two());
  std::vector<std::future<std::string>> waiting;
  for (int i = 0; i < 16; ++i) waiting.push_back(ask(pool, 0, "Tom", 2));
  EXPECT_EQ(ask(pool, 0, "Tom", 2).get(), "refused");
  EXPECT_EQ(pool.state(0).waiting, 16u);
  EXPECT_EQ(pool.state(0).metrics.rejected, 1u);
  EXPECT_EQ(pool.place(0), PoolPlace::loading);
  EXPECT_TRUE(pool.drain(0ms));
  for (auto& one : waiting) EXPECT_EQ(one.get(), "drains");
  EXPECT_EQ(ask(pool, 1, "Tom").get(), "refused");
  opened.set_value();
}

TEST(Turns, GoRound) {
  Turns turns;
  std::vector<int> order;
  const auto take = [&](int who, int times) {
    for (int i = 0; i < times; ++i) {
      const std::lock_guard turn(turns);
      order.push_back(who);
      std::this_thread::sleep_for(1ms);  // the other one comes to wait meanwhile
    }
  };
  std::thread first(take, 0, 50), second(take, 1, 50);
  first.join();
  second.join();
  EXPECT_EQ(order.size(), 100u);
  EXPECT_EQ(std::ranges::count(order, 1), 50);
}

// --- the interface of a server with several --------------------------------------------------------------------------

class SeveralModels : public Api {
 protected:
  // broken: why the second does not load. opens: when the first goes on to load.
  void start_two(std::uint64_t memory = UINT64_MAX, const std::string& broken = "",
                 const std::shared_future<void>& opens = {}) {
    BatchLimits given = limits();
    given.memory = 64 << 20;
    const auto load = [this, given, opens](const ProgressCallback&) {
      if (opens.valid()) opens.wait();
      const std::lock_guard turn(turns);
      return std::make_shared<LoadedModel>(std::make_unique<Decoder>(model, exact_options(), machine), tokenizer,
                                           SchedulerOptions{.limits = given, .queue = 16, .turns = &turns});
    };
    both = {facts, facts};
    both[1].names = {"second \"one\""};
    both[1].context = 128;
    pool.emplace(std::vector<PooledModel>{{.name = "tale", .bytes = 1, .load = load},
                                          {.name = "second",
                                           .bytes = 1,
                                           .judge =
                                               [broken] {
                                                 if (!broken.empty()) throw Error(ErrorKind::corrupt, broken);
                                               },
                                           .load = load}},
                 PoolOptions{.memory = memory, .most_waiting = 16});
    api.emplace(both, *pool, AccessRules{}, [this](const Json& line) {
      const std::lock_guard lock(log_mutex);
      lines.push_back(line);
    });
    server.emplace(HttpAddress{.port = 0}, HttpLimits{}, *api);
    server->start();
  }
  Json get(const std::string& path) { return json(nibble::serve::ask(server->port(), "GET", path)); }

  Turns turns;
  std::vector<ServedModel> both;
};

TEST_F(SeveralModels, AreAskedByTheirNames) {
  start_two();
  const Json list = get("/v1/models")["data"];
  ASSERT_EQ(list.size(), 2u);
  EXPECT_EQ(list[1]["id"], "second \"one\"");
  EXPECT_EQ(list[1]["status"]["value"], "unloaded");
  Json body = chat_body();
  const Json first = json(post("/v1/chat/completions", body));
  EXPECT_EQ(first["model"], "tale");
  body["model"] = "second \"one\"";
  const Json second = json(post("/v1/chat/completions", body));
  EXPECT_EQ(second["model"], "second \"one\"");
  EXPECT_EQ(second["choices"], first["choices"]);
  EXPECT_EQ(get("/v1/models/second%20%22one%22")["status"]["value"], "loaded");
  body.erase("model");
  const Json nameless = json(post("/v1/chat/completions", body), 400);
  EXPECT_EQ(nameless["error"]["param"], "model");
  EXPECT_NE(nameless["error"]["message"].get<std::string>().find("'tale', 'second \"one\"'"), std::string::npos);
  body["model"] = "third";
  EXPECT_EQ(json(post("/v1/chat/completions", body), 404)["error"]["code"], "model_not_found");
  for (const char* const path : {"/tokenize", "/v1/completions", "/v1/messages/count_tokens", "/apply-template"}) {
    json(post(path, {{"content", "x"}, {"prompt", "x"}}), 400);
    json(post(path, {{"model", "third"}}), 404);
  }
  EXPECT_EQ(get("/props?model=second%20%22one%22")["default_generation_settings"]["n_ctx"], 128);
  EXPECT_EQ(get("/props?a=b&model=second+%22one%22")["default_generation_settings"]["n_ctx"], 128);
  EXPECT_EQ(get("/slots?submodel=tale").size(), 16u);
  EXPECT_EQ(get("/props")["model_alias"], "tale");
  json(nibble::serve::ask(server->port(), "GET", "/props?model=third"), 404);
  EXPECT_EQ(get("/slots").size(), 16u);
  EXPECT_EQ(get("/slots?model=tale").size(), 8u);
  const std::string metrics = nibble::serve::ask(server->port(), "GET", "/metrics").body;
  for (const char* const line :
       {"nibble_generation_tokens_total{model=\"tale\"} 12\n",
        "nibble_generation_tokens_total{model=\"second \\\"one\\\"\"} 12\n", "nibble_model_loaded{model=\"tale\"} 1\n",
        "nibble_request_success_total{model=\"tale\",finished_reason=\"length\"} 1\n",
        "nibble_time_to_first_token_seconds_bucket{model=\"tale\",le=\"+Inf\"} 1\n", "nibble_connections 0\n"})
    EXPECT_NE(metrics.find(line), std::string::npos) << line;
  server->stop(120s);
  const std::lock_guard lock(log_mutex);
  EXPECT_EQ(lines[1]["model"], "second \"one\"");
}

TEST_F(SeveralModels, OneThatDoesNotLoadIsNoFaultOfWhoAsks) {
  start_two(UINT64_MAX, "a file has changed");
  Json body = chat_body();
  body["model"] = both[1].names[0];
  const std::string told = "model 'second' cannot be loaded: a file has changed";
  for (int i = 0; i < 2; ++i) EXPECT_EQ(json(post("/v1/chat/completions", body), 500)["error"]["message"], told);
  json(post("/v1/chat/completions", chat_body()));
}

TEST_F(SeveralModels, AStreamThatWaitsHasBegunAndWhoLeavesWaitsNoMore) {
  std::promise<void> opened;
  start_two(1 << 20, "", opened.get_future().share());
  Json body = chat_body();
  body["stream"] = true;
  const std::string text = body.dump();
  const std::string request =
      "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + std::to_string(text.size()) +
      "\r\n\r\n" + text;
  RawClient stays(server->port()), leaves(server->port());
  stays.send(request);
  EXPECT_EQ(stays.read_head().status, 200);
  leaves.send(request);
  EXPECT_EQ(leaves.read_head().status, 200);
  EXPECT_EQ(pool->state(0).waiting, 2u);
  leaves.break_off();
  while (pool->state(0).waiting > 1) std::this_thread::sleep_for(1ms);
  opened.set_value();
  // It does not fit, as is known once it is there: the stream says so.
  EXPECT_NE(stays.read_through("needs more memory").find("data: {\"type\":\"error\""), std::string::npos);
}

TEST_F(SeveralModels, WhatNeverFitsOnceItIsThereIsAnErrorOfItsRequests) {
  start_two(1 << 20);
  const Json lost = json(post("/v1/chat/completions", chat_body()), 500);
  EXPECT_NE(lost["error"]["message"].get<std::string>().find("'tale' needs more memory"), std::string::npos) << lost;
}

}  // namespace
}  // namespace nibble::serve
