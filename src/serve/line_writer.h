// SPDX-License-Identifier: Apache-2.0
//
// Lines on their way to a file that nobody may be reading: who adds one never waits for it.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

namespace nibble::serve {

// Safe from many threads.
class LineWriter {
 public:
  // file: a descriptor that outlives the process's threads, as that of standard error. most: lines that wait; further
  // ones are lost, and their number is the next line: {"event":"lines_lost","lines":3}
  explicit LineWriter(int file, std::size_t most = 4096);
  ~LineWriter();  // waits for what it was given, a second at most
  LineWriter(const LineWriter&) = delete;
  LineWriter& operator=(const LineWriter&) = delete;

  void add(std::string line);  // without its end

 private:
  struct State;
  std::shared_ptr<State> state_;  // a writer that never comes back keeps it
};

}  // namespace nibble::serve
