// SPDX-License-Identifier: Apache-2.0
//
// Work that takes long, called from Python: without the interpreter's lock, and stopped by Ctrl-C, by a callback that
// says no, and by one that raises.
//
//   Watch watch(progress);
//   return watch.run([&] { return open_and_read(path, watch.progress()); });
#pragma once

#include <nanobind/nanobind.h>

#include <functional>
#include <optional>
#include <string_view>

#include "nibble/error.h"
#include "nibble/progress.h"

namespace nibble::python {

// Made, run and destroyed with the lock held.
class Watch {
 public:
  // callback: called as (stage, item, done, total); False stops. None: nobody is told.
  explicit Watch(nanobind::object callback) : callback_(std::move(callback)) {}
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

  // Lives as long as this.
  ProgressCallback progress();

  // Calls Python from work: false after it has raised, or answered False.
  bool ask(const std::function<nanobind::object()>& call);

  // What work returns. What Python raised meanwhile comes out, whatever the work made of being stopped.
  template <typename Work>
  auto run(Work work) {
    try {
      auto result = [&] {
        const nanobind::gil_scoped_release released;
        return work();
      }();
      raise();
      return result;
    } catch (const Error&) {
      raise();
      throw;
    }
  }

 private:
  void raise();
  nanobind::object callback_;
  std::optional<nanobind::python_error> raised_;
};

}  // namespace nibble::python
