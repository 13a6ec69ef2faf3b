// SPDX-License-Identifier: Apache-2.0
//
// std::string and std::string_view as Python's str. In place of nanobind's own, which know no text but UTF-8: names in
// files, and of files, may be any bytes.
#pragma once

#include <nanobind/nanobind.h>

#include <string>
#include <string_view>

namespace nibble::python {

// What is no UTF-8 becomes U+FFFD.
inline nanobind::handle text_of(std::string_view bytes) {
  return PyUnicode_DecodeUTF8(bytes.data(), static_cast<Py_ssize_t>(bytes.size()), "replace");
}

// A name of a file as os.fsdecode has it, which gives the same file back.
inline nanobind::object file_name_of(const std::string& path) {
  return nanobind::steal(PyUnicode_DecodeFSDefaultAndSize(path.data(), static_cast<Py_ssize_t>(path.size())));
}

// Surrogates stand for the bytes that os.fsdecode has them for; others are no UTF-8, which whoever reads them says.
// False: no str. Leaves no error.
inline bool read_text(nanobind::handle source, std::string& text) {
  if (PyUnicode_Check(source.ptr()) == 0) return false;
  for (const char* const errors : {"surrogateescape", "surrogatepass"}) {
    const nanobind::object bytes = nanobind::steal(PyUnicode_AsEncodedString(source.ptr(), "utf-8", errors));
    if (bytes.is_valid()) {
      text.assign(PyBytes_AsString(bytes.ptr()), static_cast<std::size_t>(PyBytes_Size(bytes.ptr())));
      return true;
    }
    PyErr_Clear();
  }
  return false;
}

}  // namespace nibble::python

namespace nanobind::detail {

template <>
struct type_caster<std::string> {
  NB_TYPE_CASTER(std::string, const_name("str"))
  bool from_python(handle source, uint32_t, cleanup_list*) noexcept { return nibble::python::read_text(source, value); }
  static handle from_cpp(const std::string& text, rv_policy, cleanup_list*) noexcept {
    return nibble::python::text_of(text);
  }
};

template <>
struct type_caster<std::string_view> {
  static constexpr auto Name = const_name("str");
  using Value = std::string_view;
  template <typename T>
  using Cast = std::string_view;
  template <typename T>
  static constexpr bool can_cast() {
    return true;
  }
  explicit operator std::string_view() const { return text_; }
  bool from_python(handle source, uint32_t, cleanup_list*) noexcept { return nibble::python::read_text(source, text_); }
  static handle from_cpp(std::string_view text, rv_policy, cleanup_list*) noexcept {
    return nibble::python::text_of(text);
  }

 private:
  std::string text_;
};

}  // namespace nanobind::detail
