// SPDX-License-Identifier: Apache-2.0
#include "model/tokenizer/pre_tokenizer.h"

#include "model/tokenizer/byte_alphabet.h"

namespace nibble::tokenizing {
namespace {

using Piece = CutText::Piece;

struct Part {
  Piece piece;
  bool delimiter = false;
};

// The matches of one piece and what lies between them, in order.
void find_parts(const Split& split, PatternScan& scan, std::string_view piece, std::vector<Part>& parts) {
  parts.clear();
  std::size_t covered = 0;
  scan.each(piece, [&](std::size_t begin, std::size_t end) {
    if (begin > covered) parts.push_back({{covered, begin}, split.invert});
    parts.push_back({{begin, end}, !split.invert});
    covered = end;
  });
  if (covered < piece.size()) parts.push_back({{covered, piece.size()}, split.invert});
}

// Joins delimiters to the neighbours that the behaviour names. Works in place; `parts` shrinks.
void join_parts(SplitBehaviour behaviour, std::vector<Part>& parts) {
  std::size_t kept = 0;
  switch (behaviour) {
    case SplitBehaviour::isolated:
      return;
    case SplitBehaviour::removed:
      for (const Part& part : parts)
        if (!part.delimiter) parts[kept++] = part;
      break;
    case SplitBehaviour::contiguous:
      for (const Part& part : parts) {
        if (kept > 0 && parts[kept - 1].delimiter == part.delimiter) {
          parts[kept - 1].piece.end = part.piece.end;
        } else {
          parts[kept++] = part;
        }
      }
      break;
    case SplitBehaviour::merged_with_previous: {
      bool after_delimiter = false;
      for (const Part& part : parts) {
        if (part.delimiter && !after_delimiter && kept > 0) {
          parts[kept - 1].piece.end = part.piece.end;
        } else {
          parts[kept++] = part;
        }
        after_delimiter = part.delimiter;
      }
      break;
    }
    case SplitBehaviour::merged_with_next: {
      // Of a run of delimiters only the last joins what follows.
      for (std::size_t i = 0; i < parts.size(); ++i) {
        const Part part = parts[i];
        if (part.delimiter && i + 1 < parts.size() && !parts[i + 1].delimiter) {
          parts[i + 1].piece.begin = part.piece.begin;
        } else {
          parts[kept++] = part;
        }
      }
      break;
    }
  }
  parts.resize(kept);
}

void apply(const Split& split, CutText& cut) {
  PatternScan scan(split.pattern);
  std::vector<Piece> pieces;
  pieces.reserve(cut.pieces.size());
  std::vector<Part> parts;
  for (std::size_t i = 0; i < cut.pieces.size(); ++i) {
    find_parts(split, scan, cut[i], parts);
    join_parts(split.behaviour, parts);
    const std::size_t base = cut.pieces[i].begin;
    for (const Part& part : parts)
      if (part.piece.end > part.piece.begin) pieces.push_back({base + part.piece.begin, base + part.piece.end});
  }
  cut.pieces = std::move(pieces);
}

// Writes every piece anew: write(piece, out, is_first) appends what stands for it.
template <class Write>
void rewrite(CutText& cut, Write&& write) {
  std::string text;
  text.reserve(cut.text.size() + cut.text.size() / 4);
  for (std::size_t i = 0; i < cut.pieces.size(); ++i) {
    const std::size_t begin = text.size();
    write(cut[i], text, i == 0);
    cut.pieces[i] = {begin, text.size()};
  }
  cut.text = std::move(text);
}

void apply(const AddSpace&, CutText& cut) {
  rewrite(cut, [](std::string_view piece, std::string& out, bool) {
    if (!piece.starts_with(' ')) out.push_back(' ');
    out += piece;
  });
}

void apply(const ByteMap&, CutText& cut) {
  rewrite(cut, [](std::string_view piece, std::string& out, bool) { append_spelled(piece, out); });
}

void apply(const Metaspace& step, CutText& cut) {
  rewrite(cut, [&](std::string_view piece, std::string& out, bool first) {
    const std::size_t begin = out.size();
    for (const char c : piece) {
      if (c == ' ') {
        out += step.replacement;
      } else {
        out.push_back(c);
      }
    }
    const bool prepend =
        step.prepend == PrependScheme::always || (step.prepend == PrependScheme::first && first && cut.at_start);
    if (prepend && !std::string_view(out).substr(begin).starts_with(step.replacement))
      out.insert(begin, step.replacement);
  });
  if (step.split) apply(Split{Pattern::literal(step.replacement), SplitBehaviour::merged_with_next, false}, cut);
}

}  // namespace

CutText CutText::whole(std::string text, bool at_start) {
  CutText cut;
  cut.text = std::move(text);
  if (!cut.text.empty()) cut.pieces.push_back({0, cut.text.size()});
  cut.at_start = at_start;
  return cut;
}

void pre_tokenize(const PreTokenizer& steps, CutText& cut) {
  for (const PreTokenizerStep& step : steps) std::visit([&](const auto& s) { apply(s, cut); }, step);
}

}  // namespace nibble::tokenizing
