// SPDX-License-Identifier: Apache-2.0
#include "serve/api/metrics_text.h"

#include <fmt/format.h>

#include <string_view>

namespace nibble::serve {

namespace {

// "\\", "\"" and new lines are escaped in a label's value.
std::string label_value(std::string_view text) {
  std::string value;
  for (const char c : text) {
    if (c == '\\' || c == '"') value += '\\';
    value += c == '\n' ? "\\n" : std::string(1, c);
  }
  return value;
}

// All samples of a name follow on one head, a model's after another's.
class MetricsPen {
 public:
  explicit MetricsPen(std::span<const ModelState> models) : models_(models) {}

  template <typename Of>
  void gauge(std::string_view name, std::string_view help, Of of) {
    head(name, help, "gauge");
    for (const ModelState& model : models_) sample(name, model, "", of(model));
  }
  void counter(std::string_view name, std::string_view help, std::uint64_t Metrics::* count) {
    head(name, help, "counter");
    for (const ModelState& model : models_) sample(name, model, "", model.state.metrics.*count);
  }
  void histogram(std::string_view name, std::string_view help, Histogram Metrics::* of) {
    head(name, help, "histogram");
    const std::string bucket = fmt::format("{}_bucket", name);
    for (const ModelState& model : models_) {
      const Histogram& histogram = model.state.metrics.*of;
      for (std::size_t i = 0; i < histogram.bounds().size(); ++i)
        sample(bucket, model, fmt::format("le=\"{}\"", histogram.bounds()[i]), histogram.count_within(i));
      sample(bucket, model, "le=\"+Inf\"", histogram.count());
      sample(fmt::format("{}_sum", name), model, "", histogram.sum());
      sample(fmt::format("{}_count", name), model, "", histogram.count());
    }
  }
  void head(std::string_view name, std::string_view help, std::string_view type) {
    text += fmt::format("# HELP nibble_{0} {1}\n# TYPE nibble_{0} {2}\n", name, help, type);
  }
  template <typename Number>
  void sample(std::string_view name, const ModelState& model, std::string_view label, Number value) {
    std::string labels = model.model.empty() ? std::string() : fmt::format("model=\"{}\"", label_value(model.model));
    if (!label.empty()) labels += fmt::format("{}{}", labels.empty() ? "" : ",", label);
    text += fmt::format("nibble_{}{} {}\n", name, labels.empty() ? labels : "{" + labels + "}", value);
  }
  std::string text;

 private:
  std::span<const ModelState> models_;
};

}  // namespace

std::string metrics_text(std::span<const ModelState> models, std::size_t connections) {
  using Model = const ModelState&;
  MetricsPen pen(models);
  pen.gauge("num_requests_running", "Texts that are read or written now.", [](Model m) { return m.state.running; });
  pen.gauge("num_requests_waiting", "Texts that wait for their turn.", [](Model m) { return m.state.waiting; });
  pen.gauge("kv_cache_bytes", "Keys and values in memory.", [](Model m) { return m.state.memory_in_use; });
  pen.gauge("kv_cache_usage_perc", "Their share of what is allowed, 1 being all.", [](Model m) {
    const SchedulerState& s = m.state;
    return s.memory > 0 ? static_cast<double>(s.memory_in_use) / static_cast<double>(s.memory) : 0.0;
  });
  pen.gauge("model_loaded", "1 where the model is in memory.", [](Model m) { return m.bytes > 0 ? 1 : 0; });
  pen.gauge("model_bytes", "What it takes there, weights and what caches may.", [](Model m) { return m.bytes; });
  pen.head("model_loads_total", "How often it was loaded.", "counter");
  for (const ModelState& model : models) pen.sample("model_loads_total", model, "", model.loads);
  pen.head("connections", "Open connections.", "gauge");
  pen.sample("connections", {}, "", connections);
  pen.counter("prompt_tokens_total", "Tokens of prompts.", &Metrics::prompt_tokens);
  pen.counter("generation_tokens_total", "Tokens that were made.", &Metrics::new_tokens);
  pen.counter("prefix_cache_queries_total", "Tokens of prompts that were looked for among held ones.",
              &Metrics::prompt_tokens);
  pen.counter("prefix_cache_hits_total", "Tokens of prompts that were held and not read again.",
              &Metrics::cached_tokens);
  pen.counter("read_tokens_total", "Tokens that went through the network.", &Metrics::read_tokens);
  pen.counter("steps_total", "Steps of the batch.", &Metrics::steps);
  pen.counter("preemptions_total", "Texts put back for want of memory.", &Metrics::preemptions);
  pen.counter("requests_rejected_total", "Requests refused since the queue was full.", &Metrics::rejected);
  pen.head("request_success_total", "Texts that have ended, by why.", "counter");
  for (const ModelState& model : models)
    for (std::size_t i = 0; i < model.state.metrics.finished.size(); ++i)
      pen.sample("request_success_total", model,
                 fmt::format("finished_reason=\"{}\"", finish_name(static_cast<FinishReason>(i))),
                 model.state.metrics.finished[i]);
  pen.histogram("time_to_first_token_seconds", "From request to first token.", &Metrics::first_token);
  pen.histogram("inter_token_latency_seconds", "Between two tokens of a text.", &Metrics::between_tokens);
  pen.histogram("e2e_request_latency_seconds", "From request to last token.", &Metrics::whole);
  pen.histogram("request_queue_time_seconds", "Waiting.", &Metrics::queue);
  pen.histogram("request_prefill_time_seconds", "Reading the prompt.", &Metrics::prompt);
  pen.histogram("request_decode_time_seconds", "From first to last token.", &Metrics::decode);
  return pen.text;
}

}  // namespace nibble::serve
