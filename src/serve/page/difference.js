// SPDX-License-Identifier: Apache-2.0
// In what two lists of tokens differ: which of each are in no longest list that both have in common.

const kMostCells = 4_000_000;  // beyond, only what both begin and end with counts as common

// Returns two lists of booleans: true where a token is one of the differing ones.
export function differences(a, b) {
  let begin = 0, end = 0;
  while (begin < a.length && begin < b.length && a[begin] === b[begin]) ++begin;
  while (end < a.length - begin && end < b.length - begin && a[a.length - 1 - end] === b[b.length - 1 - end]) ++end;
  const inner = [a.slice(begin, a.length - end), b.slice(begin, b.length - end)];
  const marks = inner[0].length * inner[1].length <= kMostCells ? unmatched(...inner) : inner.map((tokens) => tokens.map(() => true));
  return marks.map((inside) => [...Array(begin).fill(false), ...inside, ...Array(end).fill(false)]);
}

function unmatched(a, b) {
  const width = b.length + 1, length = new Uint32Array((a.length + 1) * width);  // of the longest common list from here on
  for (let i = a.length - 1; i >= 0; --i)
    for (let j = b.length - 1; j >= 0; --j)
      length[i * width + j] = a[i] === b[j] ? length[(i + 1) * width + j + 1] + 1 : Math.max(length[(i + 1) * width + j], length[i * width + j + 1]);
  const marks = [a.map(() => true), b.map(() => true)];
  for (let i = 0, j = 0; i < a.length && j < b.length;) {
    if (a[i] === b[j]) marks[0][i++] = marks[1][j++] = false;
    else if (length[(i + 1) * width + j] >= length[i * width + j + 1]) ++i;
    else ++j;
  }
  return marks;
}
