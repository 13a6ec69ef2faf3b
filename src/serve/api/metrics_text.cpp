// SPDX-License-Identifier: Apache-2.0
#include "serve/api/metrics_text.h"

#include <fmt/format.h>

#include <string_view>

namespace nibble::serve {

namespace {

class MetricsPen {
 public:
  template <typename Number>
  void gauge(std::string_view name, std::string_view help, Number value) {
    head(name, help, "gauge");
    text += fmt::format("nibble_{} {}\n", name, value);
  }
  void counter(std::string_view name, std::string_view help, std::uint64_t value) {
    head(name, help, "counter");
    text += fmt::format("nibble_{} {}\n", name, value);
  }
  void histogram(std::string_view name, std::string_view help, const Histogram& histogram) {
    head(name, help, "histogram");
    for (std::size_t i = 0; i < histogram.bounds().size(); ++i)
      text += fmt::format("nibble_{}_bucket{{le=\"{}\"}} {}\n", name, histogram.bounds()[i], histogram.count_within(i));
    text += fmt::format("nibble_{0}_bucket{{le=\"+Inf\"}} {1}\nnibble_{0}_sum {2}\nnibble_{0}_count {1}\n", name,
                        histogram.count(), histogram.sum());
  }
  void head(std::string_view name, std::string_view help, std::string_view type) {
    text += fmt::format("# HELP nibble_{0} {1}\n# TYPE nibble_{0} {2}\n", name, help, type);
  }
  std::string text;
};

}  // namespace

std::string metrics_text(const SchedulerState& state, std::size_t connections) {
  const Metrics& m = state.metrics;
  MetricsPen pen;
  pen.gauge("num_requests_running", "Texts that are read or written now.", state.running);
  pen.gauge("num_requests_waiting", "Texts that wait for their turn.", state.waiting);
  pen.gauge("kv_cache_bytes", "Keys and values in memory.", state.memory_in_use);
  pen.gauge("kv_cache_usage_perc", "Their share of what is allowed, 1 being all.",
            state.memory > 0 ? static_cast<double>(state.memory_in_use) / static_cast<double>(state.memory) : 0.0);
  pen.gauge("connections", "Open connections.", connections);
  pen.counter("prompt_tokens_total", "Tokens of prompts.", m.prompt_tokens);
  pen.counter("generation_tokens_total", "Tokens that were made.", m.new_tokens);
  pen.counter("prefix_cache_queries_total", "Tokens of prompts that were looked for among held ones.", m.prompt_tokens);
  pen.counter("prefix_cache_hits_total", "Tokens of prompts that were held and not read again.", m.cached_tokens);
  pen.counter("read_tokens_total", "Tokens that went through the network.", m.read_tokens);
  pen.counter("steps_total", "Steps of the batch.", m.steps);
  pen.counter("preemptions_total", "Texts put back for want of memory.", m.preemptions);
  pen.counter("requests_rejected_total", "Requests refused since the queue was full.", m.rejected);
  pen.head("request_success_total", "Texts that have ended, by why.", "counter");
  for (std::size_t i = 0; i < m.finished.size(); ++i)
    pen.text += fmt::format("nibble_request_success_total{{finished_reason=\"{}\"}} {}\n",
                            finish_name(static_cast<FinishReason>(i)), m.finished[i]);
  pen.histogram("time_to_first_token_seconds", "From request to first token.", m.first_token);
  pen.histogram("inter_token_latency_seconds", "Between two tokens of a text.", m.between_tokens);
  pen.histogram("e2e_request_latency_seconds", "From request to last token.", m.whole);
  pen.histogram("request_queue_time_seconds", "Waiting.", m.queue);
  pen.histogram("request_prefill_time_seconds", "Reading the prompt.", m.prompt);
  pen.histogram("request_decode_time_seconds", "From first to last token.", m.decode);
  return pen.text;
}

}  // namespace nibble::serve
