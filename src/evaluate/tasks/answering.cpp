// SPDX-License-Identifier: Apache-2.0
#include "evaluate/tasks/answering.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "evaluate/scoring.h"
#include "evaluate/tasks/numbers.h"
#include "evaluate/tasks/task_file.h"
#include "kernels/log_probabilities.h"
#include "nibble/error.h"

namespace nibble {

namespace {

// The first of equals, as numpy's argmax.
std::size_t best_of(const std::vector<double>& values) {
  return static_cast<std::size_t>(std::max_element(values.begin(), values.end()) - values.begin());
}

}  // namespace

// A context and its continuation as tokens, cut from the left to what the model can read.
struct Answerer::Sequence {
  std::vector<std::int32_t> tokens;
  std::size_t first_scored = 0;  // the continuation begins here; at least 1
};

Answerer::Answerer(Decoder& decoder, const Tokenizer& tokenizer, const Task& task, const AnswerOptions& options)
    : decoder_(decoder), tokenizer_(tokenizer), task_(task), options_(options) {}

Answerer::Sequence Answerer::encode(const Option& option) const {
  Sequence sequence;
  std::string context = option.context, continuation = option.continuation;
  if (context.empty()) {
    const std::optional<std::int32_t> start = tokenizer_.bos() ? tokenizer_.bos() : tokenizer_.eos();
    if (!start)
      throw Error(ErrorKind::unsupported,
                  "this tokenizer has neither a begin nor an end token to stand before a text without context");
    sequence.tokens = tokenizer_.encode(continuation, {.add_special = false});
    if (sequence.tokens.empty() || sequence.tokens.front() != *start)
      sequence.tokens.insert(sequence.tokens.begin(), *start);
    sequence.first_scored = 1;
  } else {
    // Spaces at the end of a context belong to the word that follows.
    const std::size_t end = trimmed_size(context);
    continuation = context.substr(end) + continuation;
    context.resize(end);
    sequence.tokens = tokenizer_.encode(context + continuation);
    sequence.first_scored = tokenizer_.encode(context).size();
  }
  if (sequence.first_scored == 0 || sequence.first_scored >= sequence.tokens.size())
    throw Error(
        ErrorKind::unsupported,
        fmt::format("a continuation has no tokens of its own, so it has no probability: '{}'", option.continuation));
  const std::size_t longest = decoder_.config().context + 1;
  if (sequence.tokens.size() > longest) {
    const std::size_t cut = sequence.tokens.size() - longest;
    if (cut >= sequence.first_scored)
      throw Error(ErrorKind::unsupported,
                  fmt::format("a continuation is longer than the model's context of {} tokens: {}", longest - 1,
                              sequence.tokens.size() - sequence.first_scored));
    sequence.tokens.erase(sequence.tokens.begin(), sequence.tokens.begin() + static_cast<std::ptrdiff_t>(cut));
    sequence.first_scored -= cut;
  }
  return sequence;
}

OptionScore Answerer::score_rest(const Sequence& sequence, std::size_t shared) {
  const std::size_t vocab = decoder_.config().vocab_size, last = sequence.tokens.size() - 1;
  OptionScore score{0, true};
  // The logits of position i predict token i + 1. A bounded number of them at a time.
  const std::size_t at_once = std::max<std::size_t>(1, (16u << 20) / vocab);
  for (std::size_t begin = shared; begin < last;) {
    const std::size_t first = std::max(begin, sequence.first_scored - 1), end = std::min(last, first + at_once),
                      count = end - first;
    logits_.resize(count * vocab);
    decoder_.forward_from(cache_, std::span(sequence.tokens).subspan(begin, end - begin), first - begin, logits_);
    for (std::size_t i = 0; i < count; ++i) {
      const float* const row = &logits_[i * vocab];
      const auto target = static_cast<std::uint32_t>(sequence.tokens[first + i + 1]);
      const double value = static_cast<double>(row[target]) - log_sum_exp(row, vocab, decoder_.isa()).log_sum;
      if (!std::isfinite(value)) refuse_logits("model", 0, first + i);
      std::uint32_t top = 0;
      greatest(row, vocab, std::span(&top, 1), decoder_.isa());
      score.log_likelihood += value;
      score.greedy = score.greedy && top == target;
    }
    begin = end;
  }
  return score;
}

std::vector<OptionScore> Answerer::score(const std::vector<Option>& options) {
  std::vector<Sequence> sequences;
  for (const Option& option : options) sequences.push_back(encode(option));
  // Up to here all options read the same, and none is scored yet.
  std::size_t shared = sequences.front().first_scored - 1;
  for (const Sequence& sequence : sequences) {
    shared = std::min(shared, sequence.first_scored - 1);
    const auto& head = sequences.front().tokens;
    const auto [a, b] =
        std::mismatch(head.begin(), head.begin() + static_cast<std::ptrdiff_t>(shared), sequence.tokens.begin());
    shared = static_cast<std::size_t>(a - head.begin());
  }
  std::size_t longest = 0;
  for (const Sequence& sequence : sequences) longest = std::max(longest, sequence.tokens.size() - 1);
  // A question's answer must not depend on those before it: where positions turn by a sequence's length, its cache has
  // that length.
  const bool is_exact = decoder_.config().rope.scaling == RopeScaling::longrope;
  const std::size_t rounded = std::min<std::size_t>(decoder_.config().context, (longest + 63) / 64 * 64);
  if (is_exact || cache_.capacity() < longest) cache_ = decoder_.new_cache(is_exact ? longest : rounded);
  cache_.clear();
  if (shared > 0) decoder_.forward_from(cache_, std::span(sequences.front().tokens).first(shared), shared, {});
  const SavedPoint read = cache_.save();
  std::vector<OptionScore> scores;
  for (const Sequence& sequence : sequences) {
    cache_.restore(read);
    scores.push_back(score_rest(sequence, shared));
  }
  return scores;
}

Answer Answerer::answer(const Question& question, const TextCallback& on_text) {
  if (task_.kind == TaskKind::exact_match || task_.kind == TaskKind::bleu) return generate_answer(question, on_text);
  Answer answer;
  answer.scores = score(question.options);
  if (task_.kind == TaskKind::last_word) {
    answer.right = answer.scores.front().greedy;
    return answer;
  }
  std::vector<double> plain, normalised;
  for (std::size_t i = 0; i < answer.scores.size(); ++i) {
    plain.push_back(answer.scores[i].log_likelihood);
    normalised.push_back(answer.scores[i].log_likelihood / static_cast<double>(question.options[i].characters));
  }
  answer.chosen = best_of(plain);
  answer.chosen_norm = best_of(normalised);
  answer.right = answer.chosen == question.answer;
  answer.right_norm = answer.chosen_norm == question.answer;
  return answer;
}

Answer Answerer::generate_answer(const Question& question, const TextCallback& on_text) {
  std::vector<std::int32_t> prompt = tokenizer_.encode(question.prompt);
  // Room for the answer: the prompt loses its beginning where it is too long, as in the harness.
  const std::size_t context = decoder_.config().context, room = std::min(options_.max_tokens, context / 2);
  if (prompt.size() > context - room)
    prompt.erase(prompt.begin(), prompt.end() - static_cast<std::ptrdiff_t>(context - room));
  GenerateOptions options;
  options.max_tokens = room;
  for (const std::string_view stop : task_.stop) options.stop.emplace_back(stop);
  Answer answer;
  answer.text = generate(decoder_, tokenizer_, prompt, options, on_text).text;
  if (task_.kind == TaskKind::bleu) {
    answer.bleu = count_bleu(trimmed_text(answer.text), question.reference);
  } else {
    const std::string wanted = wanted_number(question.reference);
    answer.right = strict_number(answer.text) == wanted;
    answer.right_norm = last_number(answer.text) == wanted;
  }
  return answer;
}

}  // namespace nibble
