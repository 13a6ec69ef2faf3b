// SPDX-License-Identifier: Apache-2.0
#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/vector.h>

#include <utility>

#include "arrays.h"
#include "fields.h"
#include "named_values.h"
#include "nibble/formats.h"
#include "parts.h"
#include "text_caster.h"

namespace nibble::python {

namespace nb = nanobind;
using namespace nb::literals;

namespace {

using MatrixView = nb::ndarray<const float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Bytes = nb::ndarray<const std::uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

constexpr Choice<FormatGroup> kGroups[] = {{"raw", FormatGroup::raw},
                                           {"block", FormatGroup::block},
                                           {"planar", FormatGroup::planar},
                                           {"mix", FormatGroup::mix}};

Fields to_fields(EncodedPlane&& plane) {
  Fields fields;
  fields["name"] = plane.name;
  fields["type"] = plane.type;
  fields["shape"] = nb::tuple(nb::cast(plane.shape));
  // std::byte is a byte of NumPy's uint8.
  const std::size_t size[] = {plane.bytes.size()};
  auto* const data = reinterpret_cast<std::uint8_t*>(plane.bytes.data());
  fields["bytes"] = NumpyVector<std::uint8_t>(data, 1, size, own(std::move(plane.bytes)));
  return fields;
}

// The planes that a file of this format would hold.
nb::typed<nb::list, Fields> encode_matrix(const MatrixView& weights, const Fields& options,
                                          std::optional<VectorView<float>> importance) {
  EncodeMatrixRequest request;
  read_field(options, "format", request.format);
  read_field(options, "method", request.method);
  read_field(options, "fit", request.fit);
  request.machine = machine_options(options);
  if (importance) request.importance = span_of(*importance);
  EncodedMatrix matrix = [&] {
    const nb::gil_scoped_release released;
    return nibble::encode_matrix(span_of(weights), weights.shape(0), weights.shape(1), request);
  }();
  nb::typed<nb::list, Fields> planes;
  for (EncodedPlane& plane : matrix.planes) planes.append(to_fields(std::move(plane)));
  return planes;
}

EncodedPlane plane_of(const nb::dict& fields) {
  EncodedPlane plane;
  read_field(fields, "name", plane.name);
  read_field(fields, "type", plane.type);
  read_field(fields, "shape", plane.shape);
  const auto bytes = nb::cast<Bytes>(fields["bytes"]);
  const auto* const data = reinterpret_cast<const std::byte*>(bytes.data());
  plane.bytes.assign(data, data + bytes.size());
  return plane;
}

NumpyMatrix<float> decode_matrix(const std::string& format, std::uint64_t rows, std::uint64_t cols,
                                 const nb::typed<nb::list, Fields>& planes) {
  EncodedMatrix matrix{.format = format, .rows = rows, .cols = cols, .planes = {}};
  for (const nb::handle plane : planes) matrix.planes.push_back(plane_of(nb::cast<nb::dict>(plane)));
  std::vector<float> values = [&] {
    const nb::gil_scoped_release released;
    return nibble::decode_matrix(matrix);
  }();
  return to_numpy(std::move(values), rows, cols);
}

nb::typed<nb::list, Fields> list_formats() {
  nb::typed<nb::list, Fields> formats;
  for (const FormatDescription& format : list_format_descriptions()) {
    Fields fields;
    fields["name"] = format.name;
    fields["description"] = format.description;
    fields["group"] = spelling_of(format.group, kGroups);
    fields["bits_per_weight"] = format.bits_per_weight;
    fields["row_multiple"] = format.row_multiple;
    formats.append(fields);
  }
  return formats;
}

}  // namespace

void bind_matrices(nb::module_& module) {
  module.def("encode_matrix", &encode_matrix, "weights"_a, "options"_a, "importance"_a.none());
  module.def("decode_matrix", &decode_matrix, "format"_a, "rows"_a, "cols"_a, "planes"_a);
  module.def("list_formats", &list_formats);
}

}  // namespace nibble::python
