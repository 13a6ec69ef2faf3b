// SPDX-License-Identifier: Apache-2.0
#include "pipeline/convert/convert_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <map>
#include <mutex>
#include <optional>
#include <utility>

#include "base/progress_meter.h"
#include "format/reordered_columns.h"
#include "kernels/encode/encoders.h"
#include "model/known_family.h"
#include "model/stored_activations.h"
#include "nibble/error.h"
#include "pipeline/convert/places.h"
#include "pipeline/export/container.h"
#include "pipeline/quantize/quantize_model.h"
#include "pipeline/quantize/quantize_plan.h"
#include "pipeline/quantize/unknown_network.h"
#include "quantize/method.h"
#include "quantize/quantize_linear.h"
#include "quantize/round/exact.h"

namespace nibble {
namespace {

constexpr std::uint64_t kBandElements = std::uint64_t{4} << 20;

// A matrix of the source, what the network calls it, and its numbers with the columns in the output's order.
struct Part {
  const StoredTensor* stored;
  const ModelTensor* tensor;
  TensorSource values;
  bool moves_rows = false, moves_columns = false;
};

// Rows of one matrix held against another format.
class Comparison {
 public:
  Comparison(const Part& part, const FormatPtr& target, Machine& machine)
      : part_(part), reading_(with_kernels(part.values.format(), machine.isa)), target_(target), machine_(machine) {}

  // Whether every row has the same numbers in the target.
  bool is_exact(ProgressMeter& meter) {
    return walk([](std::span<const float>, std::span<const float>, bool is_same) { return is_same; }, meter);
  }

  // Of a target that is a floating-point type.
  NumberLoss loss(ProgressMeter& meter) {
    NumberLoss all;
    double changes = 0, squares = 0;
    std::mutex mutex;
    walk(
        [&](std::span<const float> values, std::span<const float> back, bool) {
          NumberLoss own;
          double change = 0, square = 0;
          for (std::size_t i = 0; i < values.size(); ++i) {
            const double old = static_cast<double>(values[i]), difference = static_cast<double>(back[i]) - old;
            square += old * old;
            if (difference == 0) continue;
            ++own.changed;
            change += difference * difference;
            own.largest =
                std::max(own.largest, old == 0 ? std::numeric_limits<double>::infinity() : std::fabs(difference / old));
          }
          const std::scoped_lock lock(mutex);
          all.numbers += values.size();
          all.changed += own.changed;
          all.largest = std::max(all.largest, own.largest);
          changes += change;
          squares += square;
          return true;
        },
        meter);
    all.relative_rms = squares > 0 ? std::sqrt(changes / squares) : 0;
    return all;
  }

 private:
  // judge(numbers, what the target makes of them, whether these are the same) of every row, until it says no: false.
  template <class Judge>
  bool walk(Judge&& judge, ProgressMeter& meter) {
    const TensorSource& source = part_.values;
    const std::uint64_t cols = source.cols();
    std::atomic<bool> goes_on = true;
    for (const RowRange band : bands_of({.values = source}, *target_, kBandElements)) {
      QuantizedTensor room;
      const TensorRows rows = source.read_rows(band.begin, band.end, room, machine_.pool);
      QuantizedTensor made(target_, band.count(), cols);
      machine_.pool.parallel_for(band.count(), 4, [&](std::size_t first, std::size_t last, std::size_t) {
        std::vector<float> values(cols), back(cols);
        for (std::size_t i = first; i < last && goes_on; ++i) {
          const std::uint64_t row = band.begin + i;
          rows.decode_row(*reading_, row, values);
          if (first_not_finite(values))
            throw Error(ErrorKind::corrupt,
                        fmt::format("{}: tensor '{}' holds NaN or an infinite value, which no format can store: row {}",
                                    part_.stored->file, part_.stored->name, row));
          if (const auto defect = source.format()->find_defect(rows.row(row), cols))
            throw Error(ErrorKind::corrupt, fmt::format("{}: tensor '{}', row {}: {}", part_.stored->file,
                                                        part_.stored->name, row, *defect));
          if (!judge(values, back, encode_exactly(*target_, values, row, made.row(i), back))) goes_on = false;
        }
      });
      meter.advance(band.count() * cols, part_.stored->name);
      if (!goes_on) return false;
    }
    return true;
  }

  const Part& part_;
  FormatPtr reading_, target_;
  Machine& machine_;
};

bool is_kept(const Part& part, const Format& place, const Container& container) {
  const TensorSource& own = part.stored->values;
  return own.format()->name() == place.name() && is_copied(own, container, part.moves_rows, part.moves_columns);
}

// What the parts of one tensor may become, of which the first that holds their numbers is taken: what they are, where
// the container has that.
std::vector<FormatPtr> places_for(std::span<const Part> group, const Container& container,
                                  const ConvertOptions& options) {
  const FormatPtr& own = group.front().stored->values.format();
  if (!options.dtype.empty()) return {find_format(options.dtype)};
  if (own->info().kind != FormatKind::raw && !container.takes_codes(group.front().tensor->role))
    return {find_format("bf16"), find_format("f16"), find_format("f32")};
  const auto is_refused = [&](const FormatPtr& format) {
    if (group.front().values.cols() % format->info().row_multiple != 0) return true;
    return std::ranges::any_of(group, [&](const Part& part) {
      const PlannedTensor planned{container.name_of(*part.tensor),
                                  {part.values.rows(), part.values.cols()},
                                  format,
                                  format->name() == own->name() ? part.stored->values.parts() : nullptr};
      return !container.refusal(planned, part.tensor->role).empty();
    });
  };
  std::vector<FormatPtr> places = places_in(container, own, is_refused);
  const auto stays = [&](const Part& part) { return is_kept(part, *own, container); };
  if (!places.empty() && places.front()->name() == own->name() && std::ranges::all_of(group, stays)) places.resize(1);
  return places;
}

// The other containers that have a place for numbers in a tensor's format: ", but in those of nibble, gptq_v2".
std::string containers_for(const Part& part, const Container& refusing) {
  std::string names;
  for (const Container* const other : list_containers())
    if (other != &refusing && (!part.stored->values.parts() || keeps_parts(part.stored->values, *other)) &&
        !find_place(*other, part.stored->values.format(), part.tensor->role, other->name_of(*part.tensor),
                    part.values.rows(), part.values.cols())
             .place.empty())
      names += (names.empty() ? ", but in those of " : ", ") + std::string(other->name());
  return names;
}

[[noreturn]] void refuse(const Part& part, const Container& container, const ConvertOptions& options) {
  const StoredTensor& stored = *part.stored;
  const std::string& own = stored.values.format()->name();
  std::string what;
  if (!options.dtype.empty())
    what = fmt::format("{} cannot hold its numbers exactly; f32 holds all of them", options.dtype);
  else if (stored.values.parts() && !keeps_parts(stored.values, container))
    what = fmt::format(
        "has what the container {} does not keep ({}); the container nibble keeps it, f32 holds its "
        "numbers",
        container.name(), part_names(parts_of(*stored.values.parts())));
  else
    what = fmt::format("its numbers have no place in the formats that are tried of the container {}{}; f32 holds them",
                       container.name(), containers_for(part, container));
  throw Error(ErrorKind::unsupported,
              fmt::format("{}: tensor '{}' is {}, and {}, or let them be rounded, which is counted", stored.file,
                          stored.name, own, what),
              "lossy");
}

// The most frequent format holds for all, the others by name in front of it. parts: of the tensors, in their order.
Recipe recipe_of(const std::vector<ConvertedTensor>& tensors, std::span<const Part> parts) {
  Recipe recipe{
      .name = "convert", .description = "the numbers as they are", .main_format = {}, .rules = {}, .file_type = {}};
  std::map<std::string, std::uint64_t> counts;
  for (const ConvertedTensor& tensor : tensors) counts[tensor.to] += tensor.numbers;
  if (counts.empty()) {
    recipe.rules.push_back({"*", {}, std::string(kSourceFormat), {}});
    return recipe;
  }
  const std::string& most = std::ranges::max_element(counts, {}, [](const auto& entry) { return entry.second; })->first;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const ModelTensor& part = *parts[i].tensor;
    // Recipes know tensors by the names of two containers; experts of a stack have one, and one format.
    const std::string& name = tensors[i].name == part.hf_name ? part.hf_name : part.gguf_name;
    if (tensors[i].to != most && (recipe.rules.empty() || recipe.rules.back().pattern != name))
      recipe.rules.push_back({name, {}, tensors[i].to, {}});
  }
  recipe.rules.push_back({"*", {}, most, {}});
  recipe.file_type = find_format(most)->info().ggml_ftype;
  return recipe;
}

Part read_part(const StoredTensor& stored, const ModelTensor& tensor, Spelling from, Spelling to) {
  require_weights(stored);
  const std::vector<std::uint32_t> columns = tensor.columns_from(from, to);
  return {&stored, &tensor, columns.empty() ? stored.values : reordered_columns(stored.values, columns),
          !tensor.rows_from(from, to).empty(), !columns.empty()};
}

// How inputs are rounded goes with codes. stored: of the source.
std::optional<ActivationChoice> kept_activations(const StoredActivations& stored, const Container& container,
                                                 const ConvertOptions& options, std::vector<std::string>& notes) {
  if (!stored.format) return std::nullopt;
  if (options.dtype.empty() && container.takes_inputs(*stored.format))
    return ActivationChoice{*stored.format, {}, &stored};
  add_loss(fmt::format("the model's rounding of inputs is left out: {}", activation_format_name(*stored.format)),
           options.strict, notes);
  return std::nullopt;
}

// What becomes of the parts of one tensor of the output.
std::vector<ConvertedTensor> convert_group(const std::string& name, std::span<const Part> group,
                                           const Container& container, const ConvertOptions& options, Machine& machine,
                                           ProgressMeter& meter) {
  std::vector<ConvertedTensor> made;
  for (const Part& part : group)
    made.push_back({.name = name,
                    .from = part.stored->values.format()->name(),
                    .numbers = part.values.rows() * part.values.cols()});
  const std::vector<FormatPtr> places = places_for(group, container, options);
  std::size_t unheld = 0;  // in the last place
  for (const FormatPtr& place : places) {
    bool all_held = true;
    for (std::size_t i = 0; i < group.size() && all_held; ++i) {
      const bool stays = is_kept(group[i], *place, container);
      made[i].conversion = stays ? Conversion::kept : Conversion::exact;
      if (stays)
        meter.advance(made[i].numbers, name);
      else
        all_held = Comparison(group[i], place, machine).is_exact(meter);
      if (!all_held) unheld = i;
    }
    if (!all_held) continue;
    for (ConvertedTensor& one : made) one.to = place->name();
    return made;
  }
  if (!options.lossy) refuse(group[unheld], container, options);
  const FormatPtr place = options.dtype.empty() ? find_format("f16") : places.front();
  for (std::size_t i = 0; i < group.size(); ++i) {
    made[i].to = place->name();
    made[i].loss = Comparison(group[i], place, machine).loss(meter);
    made[i].conversion = made[i].loss.changed == 0 ? Conversion::exact : Conversion::rounded;
  }
  return made;
}

}  // namespace

std::string_view conversion_name(Conversion conversion) {
  switch (conversion) {
    case Conversion::kept:
      return "kept";
    case Conversion::exact:
      return "exact";
    case Conversion::rounded:
      return "rounded";
  }
  return "";
}

ConvertSummary convert_model(const SourceModel& source, const ConvertOptions& options, Machine& machine,
                             const ProgressCallback& progress) {
  const Container& container =
      options.container.empty() ? container_of(options.output) : find_container(options.container);
  require_place(source, container, options.output);
  const bool may_judge = options.verify && !options.dry_run;
  if (may_judge)
    read_texts(options.verify->texts, source.tokenizer(), source.config().context, options.verify->judge.windows);
  std::vector<std::string> notes;
  const StoredActivations stored_activations = read_activations(source);
  std::optional<ActivationChoice> activations = kept_activations(stored_activations, container, options, notes);
  std::optional<UnknownNetwork> unknown;
  if (!has_known_family(source)) unknown = read_unknown_network(source);
  std::vector<Part> parts;
  const std::vector<ModelTensor>& all = unknown ? unknown->tensors : source.parts().all();
  std::uint64_t work = 0;
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (stays_in_float(all[i].role)) continue;
    parts.push_back(read_part(unknown ? *unknown->stored[i] : source.stored(all[i]), all[i], source.spelling(),
                              container.naming()));
    work += parts.back().values.rows() * parts.back().values.cols();
  }
  ProgressMeter meter(progress, "compare", work, "convert was cancelled; nothing was written");
  ConvertSummary summary;
  // Experts that lie in one tensor of the output have one format.
  for (std::size_t begin = 0, end = 0; begin < parts.size(); begin = end) {
    const std::string name = container.name_of(*parts[begin].tensor);
    for (end = begin + 1; end < parts.size() && container.name_of(*parts[end].tensor) == name; ++end) {
    }
    const std::span<const Part> group = std::span(parts).subspan(begin, end - begin);
    for (ConvertedTensor& made : convert_group(name, group, container, options, machine, meter))
      summary.tensors.push_back(std::move(made));
    for (const Part& part : group) source.release(*part.stored);
  }
  const auto is_rounded = [](const ConvertedTensor& tensor) { return tensor.conversion == Conversion::rounded; };
  if (const auto rounded = std::ranges::count_if(summary.tensors, is_rounded);
      rounded > 0 && options.dtype.empty() && !container.budget_formats().empty())
    notes.push_back(fmt::format(
        "{} matrices have no place in the container {} and are rounded to f16; 'nibble quantize --allow-requantize' "
        "makes codes of them, which loses more",
        rounded, container.name()));
  QuantizeModelOptions request;
  request.recipe = recipe_of(summary.tensors, parts);
  request.method = kExactMethod;
  for (const ConvertedTensor& tensor : summary.tensors) request.rounded_numbers += tensor.loss.changed;
  if (request.rounded_numbers > 0) request.recipe.description = "the nearest numbers that the formats hold";
  request.output = options.output;
  request.container = options.container;
  request.allow_requantize = true;
  request.strict = options.strict;
  request.dry_run = options.dry_run;
  request.sync = options.sync;
  request.distilled = options.distilled;
  request.shard_bytes = options.shard_bytes;
  request.onnx = options.onnx;
  request.runtime = options.runtime;
  request.activations = std::move(activations);
  if (may_judge && !summary.is_exact()) {
    VerifiedQuantization judged = quantize_verified(source, request, *options.verify, machine, progress);
    summary.output = std::move(judged.summary);
    summary.verdict = std::move(judged.verdict);
  } else {
    summary.output = quantize_model(source, request, machine, progress);
  }
  summary.output.notes.insert(summary.output.notes.end(), notes.begin(), notes.end());
  return summary;
}

}  // namespace nibble
