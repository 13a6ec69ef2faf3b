// SPDX-License-Identifier: Apache-2.0
//
// Which two neighbouring symbols merge, how early, and into what: an open-addressed hash table, because the merge loop
// does little else than look into it. Safe to read from many threads.
//
//   MergeTable table(num_merges);
//   table.insert(left, right, {.rank = 0, .result = id});
//   if (const Merge* merge = table.find(left, right)) ...
#pragma once

#include <bit>
#include <cstdint>
#include <vector>

namespace nibble::tokenizing {

using Symbol = std::uint32_t;

struct Merge {
  std::uint32_t rank = 0;  // lower merges first; equal ranks from left to right
  Symbol result = 0;
};

class MergeTable {
 public:
  struct Entry {
    Symbol left = 0;
    Symbol right = 0;
    Merge merge;
  };

  MergeTable() : MergeTable(0) {}
  explicit MergeTable(std::size_t num_merges) : slots_(std::bit_ceil(num_merges * 2 + 2)) {
    entries_.reserve(num_merges);
  }

  // The first of two merges of the same pair stays.
  void insert(Symbol left, Symbol right, Merge merge) {
    if (entries_.size() * 2 >= slots_.size()) grow();
    std::uint32_t* slot = slot_of(left, right);
    if (*slot != 0) return;
    entries_.push_back({left, right, merge});
    *slot = static_cast<std::uint32_t>(entries_.size());
  }

  const Merge* find(Symbol left, Symbol right) const noexcept {
    const std::uint32_t entry = *const_cast<MergeTable*>(this)->slot_of(left, right);
    return entry == 0 ? nullptr : &entries_[entry - 1].merge;
  }

  const std::vector<Entry>& entries() const noexcept { return entries_; }  // in order of insertion

 private:
  std::uint32_t* slot_of(Symbol left, Symbol right) noexcept {
    const std::size_t mask = slots_.size() - 1;
    const std::uint64_t key = (std::uint64_t{left} << 32 | right) * 0x9E3779B97F4A7C15u;
    std::size_t at = (key >> 32 ^ key >> 17) & mask;
    while (slots_[at] != 0 && (entries_[slots_[at] - 1].left != left || entries_[slots_[at] - 1].right != right))
      at = (at + 1) & mask;
    return &slots_[at];
  }

  void grow() {
    slots_.assign(slots_.size() * 2, 0);
    for (std::size_t i = 0; i < entries_.size(); ++i)
      *slot_of(entries_[i].left, entries_[i].right) = static_cast<std::uint32_t>(i + 1);
  }

  std::vector<std::uint32_t> slots_;  // index into entries_ plus one; 0 is empty
  std::vector<Entry> entries_;
};

}  // namespace nibble::tokenizing
