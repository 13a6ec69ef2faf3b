// SPDX-License-Identifier: Apache-2.0
//
// A few threads that do what is given to them, in order: what is too long for the thread that serves the network, as
// rendering a conversation. Safe from many threads.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace nibble::serve {

class WorkQueue {
 public:
  WorkQueue(std::size_t threads, std::size_t most);
  ~WorkQueue();  // when what was begun is done; drops the rest

  // task: throws nothing. False: there is too much to do already.
  bool add(std::function<void()> task);

 private:
  void work();
  std::size_t most_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> tasks_;
  bool ends_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace nibble::serve
