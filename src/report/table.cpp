// SPDX-License-Identifier: Apache-2.0
#include "report/table.h"

#include <utf8proc.h>

#include <algorithm>

#include "base/utf8.h"

namespace nibble {
namespace {

std::string padded(const std::string& cell, std::size_t width, Align align) {
  const std::size_t used = display_width(cell);
  const std::string space(width > used ? width - used : 0, ' ');
  return align == Align::left ? cell + space : space + cell;
}

void trim_end(std::string& line) { line.erase(line.find_last_not_of(' ') + 1); }

std::string escaped(const std::string& cell) {
  std::string result;
  for (const char c : cell) {
    if (c == '|') result += '\\';
    result += c;
  }
  return result;
}

}  // namespace

std::size_t display_width(std::string_view text) {
  std::size_t width = 0, offset = 0;
  while (offset < text.size()) {
    const int columns = utf8proc_charwidth(static_cast<utf8proc_int32_t>(next_code_point(text, offset)));
    width += columns > 0 ? static_cast<std::size_t>(columns) : 0;
  }
  return width;
}

std::string to_ascii(std::string_view text) {
  std::string result;
  for (std::size_t offset = 0; offset < text.size();) {
    const char32_t c = next_code_point(text, offset);
    if (c < 128)
      result += static_cast<char>(c);
    else if (c == U'±')
      result += "+/-";
    else if (c == U'–' || c == U'—' || c == U'─' || c == U'−')
      result += '-';
    else if (c == U'≥')
      result += ">=";
    else if (c == U'≤')
      result += "<=";
    else if (c == U'×')
      result += 'x';
    else if (c == U'σ')
      result += "sigma";
    else if (c == U'…')
      result += "...";
    else
      result += '?';
  }
  return result;
}

void Table::add(std::vector<std::string> cells) {
  cells.resize(columns_.size());
  rows_.push_back(std::move(cells));
}

std::vector<std::size_t> Table::widths() const {
  std::vector<std::size_t> result;
  for (std::size_t c = 0; c < columns_.size(); ++c) {
    std::size_t width = display_width(columns_[c].title);
    for (const auto& row : rows_) width = std::max(width, display_width(row[c]));
    result.push_back(width);
  }
  return result;
}

std::string Table::text(const TableStyle& style) const {
  if (!style.unicode) {
    std::vector<Column> columns = columns_;
    for (Column& column : columns) column.title = to_ascii(column.title);
    Table plain(columns);
    for (auto row : rows_) {
      for (std::string& cell : row) cell = to_ascii(cell);
      plain.add(std::move(row));
    }
    std::string result = plain.text({.unicode = true});
    return to_ascii(result);
  }
  const std::vector<std::size_t> width = widths();
  std::string result, line;
  const auto finish = [&] {
    trim_end(line);
    result += line + '\n';
    line.clear();
  };
  for (std::size_t c = 0; c < columns_.size(); ++c)
    line += (c == 0 ? "" : "  ") + padded(columns_[c].title, width[c], columns_[c].align);
  finish();
  for (std::size_t c = 0; c < columns_.size(); ++c) {
    line += c == 0 ? "" : "  ";
    for (std::size_t i = 0; i < width[c]; ++i) line += "─";
  }
  finish();
  for (const auto& row : rows_) {
    for (std::size_t c = 0; c < columns_.size(); ++c)
      line += (c == 0 ? "" : "  ") + padded(row[c], width[c], columns_[c].align);
    finish();
  }
  return result;
}

std::string Table::markdown() const {
  std::string result = "|";
  for (const Column& column : columns_) result += " " + escaped(column.title) + " |";
  result += "\n|";
  for (const Column& column : columns_) result += column.align == Align::right ? "---:|" : "---|";
  result += '\n';
  for (const auto& row : rows_) {
    result += '|';
    for (const std::string& cell : row) result += " " + escaped(cell) + " |";
    result += '\n';
  }
  return result;
}

}  // namespace nibble
