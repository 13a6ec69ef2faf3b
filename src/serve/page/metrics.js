// SPDX-License-Identifier: Apache-2.0
// What /metrics says, as numbers by name, and what follows from them.

// "name" or "name{label=\"value\"}" -> number; names without "nibble_". Of several models: their sum, of shares the largest.
export function readMetrics(text) {
  const found = new Map();
  for (const line of text.split("\n")) {
    if (line === "" || line.startsWith("#")) continue;
    const space = line.lastIndexOf(" ");
    const name = line.slice(0, space).replace(/^nibble_/, "").replace(/([{,])model="(?:[^"\\]|\\.)*",?/, "$1").replace("{}", "");
    const value = Number(line.slice(space + 1)), other = found.get(name) ?? 0;
    found.set(name, name.endsWith("_perc") ? Math.max(other, value) : other + value);
  }
  return found;
}

// The buckets of a histogram: { le, count }, counts of the bucket alone.
export function bucketsOf(metrics, name) {
  const buckets = [];
  let below = 0;
  for (const [key, value] of metrics) {
    const bound = key.startsWith(name + "_bucket{le=\"") ? key.slice(name.length + 12, -2) : null;
    if (bound === null) continue;
    buckets.push({ le: bound === "+Inf" ? Infinity : Number(bound), count: value - below });
    below = value;
  }
  return buckets;
}

// By what share of measurements are below, linear within a bucket; null where there are none.
export function quantile(buckets, share) {
  const all = buckets.reduce((sum, bucket) => sum + bucket.count, 0);
  let below = 0, from = 0;
  for (const { le, count } of buckets) {
    if (all > 0 && below + count >= share * all) return le === Infinity ? from : from + (le - from) * ((share * all - below) / Math.max(count, 1));
    below += count;
    from = le;
  }
  return null;
}

// label -> value of a counter that has one label.
export const byLabel = (metrics, name) =>
  [...metrics].filter(([key]) => key.startsWith(name + "{")).map(([key, value]) => [/="([^"]*)"/.exec(key)[1], value]);
