// SPDX-License-Identifier: Apache-2.0
#include "serve/load/load_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <mutex>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/elapsed.h"
#include "base/random.h"
#include "nibble/error.h"

namespace nibble::serve {

namespace {

using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

struct Sample {
  int status = 0;
  bool is_whole = false;
  std::size_t tokens = 0;
  double first_token = 0, whole = 0;
  std::vector<double> between = {};
};

// The data of a stream of server-sent events, however it is cut.
class EventReader {
 public:
  template <typename Take>
  void push(std::string_view piece, const Take& take) {
    held_ += piece;
    for (std::size_t end = 0; (end = held_.find("\n\n")) != std::string::npos; held_.erase(0, end + 2))
      if (held_.starts_with("data: ")) take(std::string_view(held_).substr(6, end - 6));
  }

 private:
  std::string held_;
};

// One request, read to its end.
Sample ask(const LoopbackAddress& address, const std::string& body, const LoadSettings& settings) {
  Sample sample;
  EventReader reader;
  const auto start = Clock::now();
  double last = 0;
  const auto take_event = [&](std::string_view data) {
    if (data == "[DONE]") {
      sample.is_whole = true;
      return;
    }
    const Json event = Json::parse(data, nullptr, false);
    if (!event.is_object() || event.contains("error")) return;
    if (event.contains("usage") && event["usage"].is_object())
      sample.tokens = event["usage"].value("completion_tokens", std::size_t{0});
    if (!event.contains("choices") || event["choices"].empty() || event["choices"][0].value("text", "").empty()) return;
    const double now = seconds_since(start);
    if (sample.first_token > 0)
      sample.between.push_back(now - last);
    else
      sample.first_token = now;
    last = now;
  };
  sample.status = call_http(address,
                            {.method = "POST",
                             .path = "/v1/completions",
                             .body = body,
                             .key = settings.key,
                             .most_seconds = settings.most_seconds},
                            [&](std::string_view piece) { reader.push(piece, take_event); });
  sample.whole = seconds_since(start);
  return sample;
}

std::size_t vocabulary_of(const LoopbackAddress& address, const LoadSettings& settings) {
  std::string body;
  const int status = call_http(address, {.path = "/v1/models", .key = settings.key, .most_seconds = 10},
                               [&](std::string_view piece) { body += piece; });
  const Json told = Json::parse(body, nullptr, false);
  if (status == 200 && told.is_object() && told.contains("data") && !told["data"].empty()) {
    const Json& model = told["data"][0];
    if (model.contains("meta")) return model["meta"].value("n_vocab", std::size_t{0});
    return 0;
  }
  throw Error(ErrorKind::io,
              fmt::format("no server answers at http://{}:{}/v1/models as one of this interface does: status {}",
                          address.host, address.port, status));
}

// Prompts of their own, so that none is read for another: the first token differs already.
std::string body_of(std::size_t number, std::size_t vocabulary, const LoadSettings& settings) {
  Random random(settings.seed + 7919 * number);
  Json prompt = Json::array();
  std::string text = fmt::format("{}", number);
  for (std::size_t i = 0; i < settings.prompt_tokens; ++i)
    if (vocabulary > 0)
      prompt.push_back(vocabulary / 8 + random.below(vocabulary / 2));
    else
      text += fmt::format(" {}", random.below(10));
  Json body = {{"prompt", vocabulary > 0 ? std::move(prompt) : Json(text)},
               {"max_tokens", settings.new_tokens},
               {"temperature", 0},
               {"ignore_eos", true},
               {"stream", true},
               {"stream_options", {{"include_usage", true}}}};
  return body.dump();
}

void judge(const LoadSettings& settings) {
  const auto refuse = [](const char* what) { throw Error(ErrorKind::invalid_argument, what); };
  if (settings.rate <= 0 && (settings.clients == 0 || settings.clients > kMostOnTheirWay))
    refuse("from 1 to 1024 clients ask at the same time");
  if (settings.requests == 0) refuse("nothing is asked");
  if (settings.prompt_tokens == 0 || settings.new_tokens == 0) refuse("prompts and texts have tokens");
}

LoadFigures figures_of(const std::vector<Sample>& samples, double seconds, const LoadSettings& settings) {
  LoadFigures figures{.requests = samples.size(), .seconds = seconds};
  std::vector<double> first, between, whole;
  std::size_t good = 0;
  for (const Sample& sample : samples) {
    if (sample.status == 429 || sample.status == 503) {
      ++figures.refused;
      continue;
    }
    if (sample.status != 200 || !sample.is_whole) {
      ++figures.failed;
      continue;
    }
    ++figures.answered;
    figures.tokens += sample.tokens;
    first.push_back(sample.first_token);
    whole.push_back(sample.whole);
    between.insert(between.end(), sample.between.begin(), sample.between.end());
    const double slowest = sample.between.empty() ? 0 : *std::ranges::max_element(sample.between);
    if (sample.first_token <= settings.most_first_token_seconds && slowest <= settings.most_token_seconds) ++good;
  }
  figures.tokens_per_second = static_cast<double>(figures.tokens) / seconds;
  figures.requests_per_second = static_cast<double>(figures.answered) / seconds;
  figures.good_share = static_cast<double>(good) / static_cast<double>(std::max<std::size_t>(samples.size(), 1));
  figures.first_token = percentiles_of(std::move(first));
  figures.between_tokens = percentiles_of(std::move(between));
  figures.whole = percentiles_of(std::move(whole));
  return figures;
}

// Each thread takes the next request and, where they come at a rate, waits for its time.
class LoadRun {
 public:
  LoadRun(const LoopbackAddress& address, const LoadSettings& settings)
      : address_(address), settings_(settings), vocabulary_(vocabulary_of(address, settings)) {
    if (settings.rate <= 0) return;
    Random random(settings.seed);
    double at = 0;
    for (std::size_t i = 0; i < settings.requests; ++i) {
      arrivals_.push_back(at);
      at -= std::log1p(-random.uniform()) / settings.rate;
    }
  }

  LoadFigures run() {
    (void)ask(address_, body_of(settings_.requests, vocabulary_, settings_),
              settings_);  // a server's first is its slowest
    start_ = Clock::now();
    const std::size_t threads = std::min(settings_.rate > 0 ? kMostOnTheirWay : settings_.clients, settings_.requests);
    std::vector<std::thread> clients;
    for (std::size_t i = 0; i < threads; ++i) clients.emplace_back([this] { work(); });
    for (std::thread& client : clients) client.join();
    if (is_cancelled_) throw Error(ErrorKind::cancelled, "the load was cancelled");
    return figures_of(samples_, std::max(seconds_since(start_), 1e-9), settings_);
  }

 private:
  void work() {
    for (;;) {
      const std::size_t number = next_++;
      if (number >= settings_.requests) return;
      if (!arrivals_.empty())
        std::this_thread::sleep_until(
            start_ + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(arrivals_[number])));
      if (is_cancelled_ || seconds_since(start_) > settings_.most_seconds) return;
      Sample sample = ask(address_, body_of(number, vocabulary_, settings_), settings_);
      const std::lock_guard lock(mutex_);
      samples_.push_back(std::move(sample));
      if (settings_.progress && !settings_.progress({"load", "", samples_.size(), settings_.requests}))
        is_cancelled_ = true;
    }
  }

  LoopbackAddress address_;
  const LoadSettings& settings_;
  std::size_t vocabulary_;  // 0: the server does not say, and gets texts
  std::vector<double> arrivals_;
  Clock::time_point start_;
  std::atomic<std::size_t> next_ = 0;
  std::atomic<bool> is_cancelled_ = false;
  std::mutex mutex_;
  std::vector<Sample> samples_;
};

}  // namespace

Percentiles percentiles_of(std::vector<double> values) {
  if (values.empty()) return {};
  std::ranges::sort(values);
  const auto at = [&](double share) {
    const auto rank = static_cast<std::size_t>(std::ceil(share * static_cast<double>(values.size())));
    return values[std::max<std::size_t>(rank, 1) - 1];
  };
  return {at(0.5), at(0.95), at(0.99)};
}

LoadFigures run_load(const LoopbackAddress& address, const LoadSettings& settings) {
  judge(settings);
  return LoadRun(address, settings).run();
}

}  // namespace nibble::serve
