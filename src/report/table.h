// SPDX-License-Identifier: Apache-2.0
//
// Tables of text: aligned for terminals (widths as Unicode defines them), or Markdown.
//
//   Table table({{"format"}, {"bytes", Align::right}});
//   table.add({"q4_k", "3.35 MB"});
//   std::string text = table.text({.unicode = true});
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace nibble {

enum class Align { left, right };

struct Column {
  std::string title;
  Align align = Align::left;
};

struct TableStyle {
  bool unicode = true;  // lines and signs beyond ASCII; false replaces them
};

class Table {
 public:
  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}
  // As many cells as columns; missing ones stay empty.
  void add(std::vector<std::string> cells);
  std::size_t num_rows() const noexcept { return rows_.size(); }

  std::string text(const TableStyle& style = {}) const;
  std::string markdown() const;

 private:
  std::vector<std::size_t> widths() const;
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

// Columns that a terminal gives to well-formed UTF-8 text: 2 for wide characters, 0 for combining ones.
std::size_t display_width(std::string_view text);

// Signs beyond ASCII that reports use, in ASCII: "±" -> "+/-", "–" -> "-", others "?".
std::string to_ascii(std::string_view text);

}  // namespace nibble
