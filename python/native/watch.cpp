// SPDX-License-Identifier: Apache-2.0
#include "watch.h"

#include <utility>

#include "text_caster.h"

namespace nibble::python {

namespace nb = nanobind;

bool Watch::ask(const std::function<nb::object()>& call) {
  const nb::gil_scoped_acquire held;
  if (raised_) return false;
  try {
    if (PyErr_CheckSignals() != 0) throw nb::python_error();
    const nb::object answer = call();
    return !answer.is(nb::handle(Py_False));
  } catch (nb::python_error& error) {
    raised_.emplace(std::move(error));
    return false;
  }
}

ProgressCallback Watch::progress() {
  return [this](const Progress& now) {
    return ask([&]() -> nb::object {
      if (callback_.is_none()) return nb::none();
      return callback_(now.stage, now.item, now.done, now.total);
    });
  };
}

void Watch::raise() {
  if (!raised_) return;
  nb::python_error error = std::move(*raised_);
  raised_.reset();
  throw error;
}

}  // namespace nibble::python
