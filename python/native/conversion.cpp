// SPDX-License-Identifier: Apache-2.0
#include <nanobind/nanobind.h>
#include <nanobind/stl/filesystem.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/vector.h>

#include <cmath>
#include <utility>

#include "fields.h"
#include "named_values.h"
#include "nibble/convert.h"
#include "nibble/plan.h"
#include "parts.h"
#include "text_caster.h"
#include "watch.h"

namespace nibble::python {

namespace nb = nanobind;
using namespace nb::literals;

namespace {

constexpr Choice<Conversion> kConversions[] = {
    {"kept", Conversion::kept}, {"exact", Conversion::exact}, {"rounded", Conversion::rounded}};

Fields to_fields(const ConvertedTensor& tensor) {
  Fields fields;
  fields["name"] = tensor.name;
  fields["from"] = tensor.from;
  fields["to"] = tensor.to;
  fields["conversion"] = spelling_of(tensor.conversion, kConversions);
  fields["numbers"] = tensor.numbers;
  if (tensor.conversion == Conversion::rounded) {
    fields["changed"] = tensor.loss.changed;
    fields["largest_relative_change"] = std::isfinite(tensor.loss.largest) ? nb::cast(tensor.loss.largest) : nb::none();
    fields["relative_rms"] = tensor.loss.relative_rms;
  }
  return fields;
}

Fields to_fields(const ConvertSummary& summary) {
  Fields fields;
  fields["output"] = file_name_of(summary.output.output.string());
  fields["bytes"] = summary.output.output_bytes;
  fields["source_bytes"] = summary.output.source_bytes;
  fields["exact"] = summary.is_exact();
  nb::list tensors;
  for (const ConvertedTensor& tensor : summary.tensors) tensors.append(to_fields(tensor));
  fields["tensors"] = tensors;
  fields["ignored"] = summary.output.ignored;
  fields["notes"] = summary.output.notes;
  return fields;
}

// What was done, and the verdict where there is one.
nb::typed<nb::tuple, Fields, std::optional<PairedVerdict>> convert(const Model& model, const Fields& options,
                                                                   const Texts& verify, nb::object progress) {
  Watch watch(std::move(progress));
  ConvertRequest request;
  read_field(options, "output", request.output);
  read_field(options, "container", request.container);
  read_field(options, "dtype", request.dtype);
  read_field(options, "lossy", request.lossy);
  read_field(options, "strict", request.strict);
  read_field(options, "dry_run", request.dry_run);
  read_field(options, "sync", request.sync);
  read_field(options, "shard_bytes", request.shard_bytes);
  request.verify = named_texts(verify);
  request.machine = machine_options(options);
  request.progress = watch.progress();
  const ConvertSummary made = watch.run([&] { return nibble::convert(model, request); });
  return nb::make_tuple(to_fields(made), made.verdict);
}

// A value for each type of cache, by its name.
template <typename Values>
Fields by_cache(const Values& values) {
  Fields fields;
  for (std::size_t i = 0; i < kCacheTypes.size(); ++i) fields[nb::cast(kCacheTypes[i].name)] = values[i];
  return fields;
}

Fields to_fields(const PlannedWeights& weights) {
  Fields fields;
  fields["format"] = weights.format;
  fields["bits_per_weight"] = weights.bits_per_weight;
  fields["bytes"] = weights.bytes;
  fields["fits"] = by_cache(weights.fits);
  fields["longest_context"] = by_cache(weights.longest);
  fields["cache"] = nb::cast(kCacheTypes[weights.usual_cache].name);
  fields["substitutions"] = weights.substitutions;
  fields["tokens_per_second"] = weights.fastest;
  fields["tokens_per_second_full"] = weights.fastest_full;
  return fields;
}

Fields to_fields(const MemoryPlan& plan) {
  Fields fields;
  fields["model"] = plan.model;
  fields["shape"] = plan.shape;
  fields["scaled"] = plan.scaled;
  fields["parameters"] = plan.parameters;
  fields["context"] = plan.context;
  fields["memory_bytes"] = plan.memory;
  fields["headroom_bytes"] = plan.headroom;
  fields["activation_bytes"] = plan.activations;
  fields["bandwidth_bytes_per_second"] = plan.bandwidth;
  fields["recurrent_bytes"] = plan.recurrent_bytes;
  fields["saved_bytes"] = plan.saved_bytes;
  nb::list cache, formats;
  for (std::size_t i = 0; i < kCacheTypes.size(); ++i) {
    Fields type;
    type["type"] = nb::cast(kCacheTypes[i].name);
    type["bytes"] = plan.cache_bytes[i];
    type["bytes_per_token"] = plan.cache_bytes_per_token[i];
    cache.append(type);
  }
  for (const PlannedWeights& weights : plan.formats) formats.append(to_fields(weights));
  fields["cache"] = cache;
  fields["formats"] = formats;
  fields["best"] = nb::none();
  if (plan.best) {
    Fields best;
    best["format"] = plan.formats[*plan.best].format;
    best["cache"] = nb::cast(kCacheTypes[plan.best_cache].name);
    fields["best"] = best;
  }
  fields["notes"] = plan.notes;
  return fields;
}

Fields plan(const Fields& options) {
  MemoryPlanRequest request;
  read_field(options, "model", request.model);
  read_field(options, "memory", request.memory);
  read_field(options, "headroom", request.headroom);
  read_field(options, "context", request.context);
  read_field(options, "bandwidth", request.bandwidth);
  read_field(options, "formats", request.formats);
  const MemoryPlan made = [&] {
    const nb::gil_scoped_release released;
    return nibble::plan(request);
  }();
  return to_fields(made);
}

}  // namespace

void bind_conversion(nb::module_& module) {
  module.def("convert", &convert, "model"_a, "options"_a, "verify"_a, "progress"_a.none());
  module.def("plan", &plan, "options"_a);
}

}  // namespace nibble::python
