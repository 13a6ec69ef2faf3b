// SPDX-License-Identifier: Apache-2.0
// Markdown, as models write it, to nodes: paragraphs, headings, code, lists, quotes, tables, emphasis, links. HTML in it is text, pictures are
// links, and a link goes to http, https or mailto or is text. Work is bounded for whatever a model writes.
import { copyText, element } from "./nodes.js";
import { spoken } from "./language.js";

const kMostDepth = 6;         // of lists and quotes in each other, and of emphasis
const kMostColumns = 40, kMostRows = 1000;
const kMostSearches = 20000;  // for ends of what is opened, in a block

const rendered = new WeakMap();  // node -> [{ source, node }]

// Makes the children of a node what the text says; blocks that have not changed stay the nodes that they are.
export function renderMarkdown(parent, text) {
  const before = rendered.get(parent) ?? [];
  const now = blocksOf(text.split("\n")).map((block, i) => {
    const source = block.kind + "\n" + block.lines.join("\n");
    return before[i]?.source === source ? before[i] : { source, node: nodeOf(block, 0) };
  });
  const same = now.findIndex((one, i) => one !== before[i]);
  const keep = same < 0 ? now.length : same;
  for (const one of before.slice(keep)) one.node.remove();
  for (const one of now.slice(keep)) parent.append(one.node);
  rendered.set(parent, now);
}

// --- blocks ------------------------------------------------------------------------------------------------------------

const kFence = /^ {0,3}(`{3,}|~{3,})(.*)$/;
const kHeading = /^ {0,3}(#{1,6})(?: |$)/;
const kRule = /^ {0,3}([-*_])(?: *\1){2,} *$/;
const kQuote = /^ {0,3}> ?/;
const kMarker = /^( *)([-*+]|\d{1,9}[.)])(?: +|$)/;

const isBlank = (line) => line.trim() === "";
const indentOf = (line) => line.length - line.trimStart().length;

function cellsOf(line) {
  const cells = [];
  let cell = "";
  const inner = line.trim().replace(/^\|/, "");
  for (let i = 0; i < inner.length && cells.length <= kMostColumns; ++i) {
    if (inner[i] === "\\" && inner[i + 1] === "|") cell += inner[++i];
    else if (inner[i] === "|") {
      cells.push(cell.trim());
      cell = "";
    } else cell += inner[i];
  }
  if (cell.trim() !== "") cells.push(cell.trim());
  return cells;
}

function tableBegins(lines, i) {
  if (!lines[i].includes("|") || i + 1 >= lines.length || !lines[i + 1].includes("-")) return false;
  const rule = cellsOf(lines[i + 1]);
  return rule.length > 0 && rule.length <= kMostColumns && rule.every((cell) => /^:?-+:?$/.test(cell)) && cellsOf(lines[i]).length === rule.length;
}

const fenceOf = (line) => {
  const found = kFence.exec(line);
  return found && !(found[1][0] === "`" && found[2].includes("`")) ? found : null;
};

const beginsBlock = (lines, i) =>
  fenceOf(lines[i]) || kHeading.test(lines[i]) || kRule.test(lines[i]) || kQuote.test(lines[i]) || kMarker.test(lines[i]) || tableBegins(lines, i);

// A block is its kind and its lines; what they mean is found when it is drawn.
function blocksOf(lines) {
  const blocks = [];
  for (let i = 0; i < lines.length;) {
    if (isBlank(lines[i])) {
      ++i;
      continue;
    }
    const [kind, end] = blockAt(lines, i);
    blocks.push({ kind, lines: lines.slice(i, end) });
    i = end;
  }
  return blocks;
}

function blockAt(lines, begin) {
  const line = lines[begin], fence = fenceOf(line);
  const through = (belongs) => {
    let end = begin + 1;
    while (end < lines.length && belongs(end)) ++end;
    return end;
  };
  if (fence) {
    const closes = (i) => {
      const text = lines[i].trim();
      return text.length >= fence[1].length && [...text].every((c) => c === fence[1][0]);
    };
    const end = through((i) => !closes(i));
    return ["code", Math.min(end + 1, lines.length)];
  }
  if (kHeading.test(line)) return ["heading", begin + 1];
  if (kRule.test(line)) return ["rule", begin + 1];
  if (kQuote.test(line)) return ["quote", through((i) => kQuote.test(lines[i]))];
  if (tableBegins(lines, begin)) return ["table", through((i) => lines[i].includes("|"))];
  if (kMarker.test(line)) return ["list", listEnd(lines, begin)];
  return ["paragraph", through((i) => !isBlank(lines[i]) && !beginsBlock(lines, i))];
}

const isOrdered = (marker) => marker[2].length > 1;
const isItem = (line, first) => {
  const marker = kMarker.exec(line);
  return marker && isOrdered(marker) === isOrdered(first) && marker[1].length <= first[1].length + 1 && !kRule.test(line);
};

function listEnd(lines, begin) {
  const first = kMarker.exec(lines[begin]);
  let end = begin + 1;
  for (let i = begin + 1; i < lines.length; ++i) {
    if (isBlank(lines[i])) continue;
    const isInside = indentOf(lines[i]) > first[1].length + 1 || isItem(lines[i], first);
    const goesOn = end === i && !beginsBlock(lines, i);  // the line before is its paragraph
    if (!isInside && !goesOn) break;
    end = i + 1;
  }
  return end;
}

function nodeOf({ kind, lines }, depth) {
  if (depth >= kMostDepth) return element("p", {}, lines.join("\n"));
  switch (kind) {
    case "code": return codeNode(lines);
    case "heading": return headingNode(lines[0]);
    case "rule": return element("hr");
    case "quote": return element("blockquote", {}, blocksOf(lines.map((line) => line.replace(kQuote, ""))).map((block) => nodeOf(block, depth + 1)));
    case "table": return tableNode(lines);
    case "list": return listNode(lines, depth);
    default: return element("p", {}, inlineNodes(lines.join("\n")));
  }
}

function headingNode(line) {
  const level = kHeading.exec(line)[1].length;
  let end = line.trimEnd().length;
  while (line[end - 1] === "#") --end;
  const text = line.slice(line.indexOf("#") + level, Math.max(end, line.indexOf("#") + level)).trim();
  return element("h" + Math.min(level + 2, 6), {}, inlineNodes(text));  // the page has the first two
}

function codeNode(lines) {
  const [, fence, told] = fenceOf(lines[0]);
  const isClosed = lines.length > 1 && lines.at(-1).trim().startsWith(fence) && !lines.at(-1).trim().replaceAll(fence[0], "");
  const text = lines.slice(1, isClosed ? -1 : undefined).join("\n");
  const copy = spoken("button", "copy", { type: "button", click: () => copyText(text).then(() => say("copied"), () => say("not_copied")) });
  const say = (key) => copy.replaceWith(spoken("span", key, { role: "status" }));
  return element("figure", { class: "code" }, element("figcaption", {}, element("span", {}, told.trim().split(/\s/)[0].slice(0, 40)), copy),
    element("pre", { tabindex: "0" }, element("code", {}, text)));
}

function listNode(lines, depth) {
  const first = kMarker.exec(lines[0]), items = [];
  for (const line of lines) {
    if (isItem(line, first)) items.push([line.slice(kMarker.exec(line)[0].length)]);
    else items.at(-1).push(line.slice(Math.min(indentOf(line), first[0].length)));
  }
  const nodes = items.map((item) => {
    const blocks = blocksOf(item), isLoose = blocks.filter((block) => block.kind === "paragraph").length > 1;
    const task = /^\[([ xX])\] /.exec(item[0]);
    if (task && blocks[0]) blocks[0].lines[0] = (task[1] === " " ? "☐ " : "☑ ") + item[0].slice(4);
    return element("li", {}, blocks.flatMap((block) => (block.kind === "paragraph" && !isLoose ? inlineNodes(block.lines.join("\n")) : [nodeOf(block, depth + 1)])));
  });
  return isOrdered(first) ? element("ol", { start: parseInt(first[2], 10) }, nodes) : element("ul", {}, nodes);
}

function tableNode(lines) {
  const sides = cellsOf(lines[1]).map((cell) => (cell.endsWith(":") ? (cell.startsWith(":") ? "center" : "right") : "left"));
  const row = (line, tag) => {
    const cells = cellsOf(line);
    return element("tr", {}, ...sides.map((side, i) => element(tag, { class: side }, inlineNodes(cells[i] ?? ""))));
  };
  const body = lines.slice(2, 2 + kMostRows).map((line) => row(line, "td"));
  const rest = lines.slice(2 + kMostRows);
  const table = element("table", {}, element("thead", {}, row(lines[0], "th")), element("tbody", {}, body));
  return element("div", { class: "scroll", tabindex: "0" }, table, ...(rest.length ? [element("pre", {}, rest.join("\n"))] : []));
}

// --- inside of a block -------------------------------------------------------------------------------------------------

const kWord = /[\p{L}\p{N}_]/u;
const kEscaped = /[!-/:-@[-`{-~]/;
const kMarks = [["**", "strong"], ["__", "strong"], ["~~", "del"], ["*", "em"], ["_", "em"]];

export function safeUrl(text) {
  try {
    const url = new URL(text);
    return ["http:", "https:", "mailto:"].includes(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
}

function inlineNodes(text, depth = 0, searches = { left: kMostSearches }) {
  if (depth >= kMostDepth) return [text];
  const nodes = [];
  let plain = "";
  const end = () => {
    if (plain) nodes.push(plain);
    plain = "";
  };
  for (let i = 0; i < text.length;) {
    const found = inlineAt(text, i, depth, searches);
    if (!found) plain += text[i++];
    else if (typeof found.node === "string") {
      plain += found.node;
      i = found.end;
    } else {
      end();
      nodes.push(found.node);
      i = found.end;
    }
  }
  end();
  return nodes;
}

// What begins at a place, and where it ends; nothing where it is a character like any other.
function inlineAt(text, i, depth, searches) {
  const c = text[i];
  if (c === "\\" && text[i + 1] === "\n") return { node: element("br"), end: i + 2 };
  if (c === "\\" && kEscaped.test(text[i + 1] ?? "")) return { node: text[i + 1], end: i + 2 };
  if (c === "\n") return { node: element("br"), end: i + 1 };
  if (searches.left <= 0) return null;
  if (c === "`") return codeAt(text, i, searches);
  if (c === "[" || (c === "!" && text[i + 1] === "[")) return linkAt(text, i, depth, searches);
  if ((c === "h" && !kWord.test(text[i - 1] ?? "")) || c === "<") return addressAt(text, i);
  if (c === "*" || c === "_" || c === "~") return emphasisAt(text, i, depth, searches);
  return null;
}

function codeAt(text, i, searches) {
  let begin = i;
  while (text[begin] === "`") ++begin;
  const fence = text.slice(i, begin);
  for (let end = text.indexOf(fence, begin); end >= 0; end = text.indexOf(fence, end)) {
    --searches.left;
    let after = end;
    while (text[after] === "`") ++after;
    if (after - end === fence.length) return { node: element("code", {}, text.slice(begin, end).trim() || text.slice(begin, end)), end: after };
    end = after;
  }
  searches.left -= 10;
  return { node: fence, end: begin };
}

// Marks stand in runs, and a longer run opens or closes several of them: the inner ones are those that the first closing run is of.
function emphasisAt(text, i, depth, searches) {
  const c = text[i], begin = runEnd(text, i), length = begin - i;
  if (/\S/.test(text[begin] ?? "") && !(c === "_" && kWord.test(text[i - 1] ?? ""))) {
    const first = length === 3 ? closingRun(text, begin, c, searches, () => true) : null;
    const marks = kMarks.filter(([mark]) => mark[0] === c && length >= mark.length);
    for (const [mark, tag] of first?.length >= 2 ? marks.reverse() : marks) {
      // Of one mark: two of them are others', within it. Of two: a third is that of one within.
      const closing = closingRun(text, begin, c, searches, (run) => (mark.length === 1 ? run.length % 2 === 1 : run.length >= 2));
      if (!closing) continue;
      if (mark.length === 1 && length === 2) return { node: c, end: i + 1 };  // the inner one opens
      const twice = length === 4 && closing.length === 4;
      const end = mark.length === 1 || twice ? closing.end : closing.begin + 2 + (closing.length % 2);
      return { node: element(tag, {}, inlineNodes(text.slice(i + mark.length, end - mark.length), depth + 1, searches)), end };
    }
  }
  return { node: text.slice(i, begin), end: begin };
}

function runEnd(text, i) {
  let end = i + 1;
  while (text[end] === text[i]) ++end;
  return end;
}

// The first run of a mark that may be the end of what stands before it, and that fits: { begin, end, length }.
function closingRun(text, from, c, searches, fits) {
  for (let begin = text.indexOf(c, from); begin >= 0; begin = text.indexOf(c, runEnd(text, begin))) {
    if (--searches.left <= 0) return null;
    const end = runEnd(text, begin), run = { begin, end, length: end - begin };
    if (!/[\s\\]/.test(text[begin - 1]) && !(c === "_" && kWord.test(text[end] ?? "")) && fits(run)) return run;
  }
  return null;
}

const kLongestLabel = 2000;

function linkAt(text, i, depth, searches) {
  const begin = text.indexOf("[", i) + 1;
  let open = 1, end = begin;
  for (; end < text.length && end - begin < kLongestLabel && open > 0; ++end) {
    if (text[end] === "\\") ++end;
    else if (text[end] === "[") ++open;
    else if (text[end] === "]") --open;
  }
  searches.left -= 1 + (end - begin) / 50;
  if (open > 0 || text[end] !== "(") return null;
  const target = /^\(\s*<?([^\s<>()]*(?:\([^\s<>()]*\)[^\s<>()]*)*)>?(?:\s+["'][^"'\n]*["'])?\s*\)/.exec(text.slice(end, end + kLongestLabel));
  if (!target) return null;
  const url = safeUrl(target[1]);
  if (!url) return null;
  return { node: anchor(url, inlineNodes(text.slice(begin, end - 1) || target[1], Math.max(depth + 1, kMostDepth - 2), searches)), end: end + target[0].length };
}

function addressAt(text, i) {
  const found = /^(<?)(https?:\/\/[^\s<>"`]+|mailto:[^\s<>"`]+)/.exec(text.slice(i, i + kLongestLabel));
  if (!found) return null;
  let address = found[2];
  if (!found[1]) while (/[.,;:!?'*_~)\]]$/.test(address) && !(address.endsWith(")") && address.includes("("))) address = address.slice(0, -1);
  const url = safeUrl(address), end = i + found[1].length + address.length;
  if (!url) return null;
  return { node: anchor(url, [address]), end: found[1] && text[end] === ">" ? end + 1 : end };
}

const anchor = (url, children) => element("a", { href: url, title: url, rel: "noopener noreferrer nofollow", target: "_blank" }, children);
