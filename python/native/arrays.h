// SPDX-License-Identifier: Apache-2.0
//
// Numbers between C++ and NumPy without a copy. With the interpreter's lock held.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace nibble::python {

// What C++ reads of an array: contiguous, in the processor's memory.
template <typename T>
using ArrayView = nanobind::ndarray<const T, nanobind::c_contig, nanobind::device::cpu>;
template <typename T>
using VectorView = nanobind::ndarray<const T, nanobind::ndim<1>, nanobind::c_contig, nanobind::device::cpu>;

using Tokens = VectorView<std::int32_t>;

template <typename View>
auto span_of(const View& view) {
  return std::span(view.data(), view.size());
}

// Arrays that own what a vector had. rows * cols is the vector's size.
template <typename T>
using NumpyVector = nanobind::ndarray<nanobind::numpy, T, nanobind::ndim<1>>;
template <typename T>
using NumpyMatrix = nanobind::ndarray<nanobind::numpy, T, nanobind::ndim<2>>;

template <typename T>
nanobind::capsule own(std::vector<T>&& values) {
  return {new std::vector<T>(std::move(values)),
          [](void* vector) noexcept { delete static_cast<std::vector<T>*>(vector); }};
}

template <typename T>
NumpyVector<T> to_numpy(std::vector<T>&& values) {
  const std::size_t shape[] = {values.size()};
  T* const data = values.data();
  return {data, 1, shape, own(std::move(values))};
}

template <typename T>
NumpyMatrix<T> to_numpy(std::vector<T>&& values, std::size_t rows, std::size_t cols) {
  const std::size_t shape[] = {rows, cols};
  T* const data = values.data();
  return {data, 2, shape, own(std::move(values))};
}

}  // namespace nibble::python
