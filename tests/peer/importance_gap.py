# SPDX-License-Identifier: Apache-2.0
"""How far two importance matrices in GGUF form are apart, for tests/peers.

    python3 importance_gap.py OURS THEIRS

Prints as JSON: entries of both; entries and experts of which one of them alone knows something; experts whose counts differ and the largest
difference; and the largest relative difference of a column's mean square among those whose counts are the same, with its entry.
"""

import array
import json
import struct
import sys

SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}  # of GGUF's number types
TEXT, LIST = 8, 9


class Reader:
    def __init__(self, path):
        self.bytes = open(path, "rb").read()
        self.at = 0

    def number(self, code):
        (value,) = struct.unpack_from("<" + code, self.bytes, self.at)
        self.at += struct.calcsize(code)
        return value

    def text(self):
        size = self.number("Q")
        self.at += size
        return self.bytes[self.at - size:self.at].decode()

    def skip_value(self, kind):
        if kind == TEXT:
            self.text()
        elif kind == LIST:
            kind, count = self.number("I"), self.number("Q")
            for _ in range(count):
                self.skip_value(kind)
        else:
            self.at += SIZES[kind]


def read_tensors(path):
    """name -> (rows, values) of a file of F32 tensors."""
    file = Reader(path)
    assert file.number("I") == 0x46554747, path
    assert file.number("I") == 3, path
    tensors, keys = file.number("Q"), file.number("Q")
    for _ in range(keys):
        file.text()
        file.skip_value(file.number("I"))
    infos = []
    for _ in range(tensors):
        name, shape = file.text(), []
        for _ in range(file.number("I")):
            shape.append(file.number("Q"))
        assert file.number("I") == 0, name
        infos.append((name, shape, file.number("Q")))
    start = (file.at + 31) // 32 * 32
    result = {}
    for name, shape, offset in infos:
        count = 1
        for extent in shape:
            count *= extent
        result[name] = (count // shape[0], array.array("f", file.bytes[start + offset:start + offset + 4 * count]))
    return result


def read_entries(path):
    """name -> [(count, [mean square of each column])], one for each expert."""
    tensors, entries = read_tensors(path), {}
    for name, (rows, sums) in tensors.items():
        if not name.endswith(".in_sum2"):
            continue
        counts, width = tensors[name.replace(".in_sum2", ".counts")][1], len(sums) // rows
        entries[name[:-len(".in_sum2")]] = [
            (counts[row], [x / max(counts[row], 1) for x in sums[row * width:(row + 1) * width]]) for row in range(rows)]
    return entries


def main():
    ours, theirs = map(read_entries, sys.argv[1:3])
    both = sorted(ours.keys() & theirs.keys())
    result = {"entries": len(both), "only_ours": sorted(ours.keys() - theirs.keys()), "only_theirs": sorted(theirs.keys() - ours.keys()),
              "matrices": 0, "other_counts": 0, "most_tokens_apart": 0, "relative": 0.0, "of": ""}
    for name in both:
        assert len(ours[name]) == len(theirs[name]), name
        for expert, ((count, means), (other_count, others)) in enumerate(zip(ours[name], theirs[name])):
            result["matrices"] += 1
            if count != other_count:
                result["other_counts"] += 1
                result["most_tokens_apart"] = max(result["most_tokens_apart"], abs(count - other_count))
                continue
            for a, b in zip(means, others):
                apart = abs(a - b) / max(abs(b), 1e-30)
                if apart > result["relative"]:
                    result["relative"], result["of"] = apart, f"{name}.{expert}"
    print(json.dumps(result))


if __name__ == "__main__":
    main()
