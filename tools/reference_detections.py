#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Prints the average precisions that tests/pipeline/detections_test.cpp expects, as COCO's own tool finds them (the package pycocotools).

Usage: reference_detections.py. Boxes are made by one chain of numbers, which the test makes likewise.
"""

import contextlib
import io

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval


def made():
    """Right boxes (sample, kind, corners), and found ones with a score behind."""
    state = 1

    def draw():
        nonlocal state
        state = (state * 1664525 + 1013904223) % 2**32
        return state / 2**32

    truth, found = [], []
    for sample in range(5):
        for kind in range(1, 4):
            for _ in range(4):
                x, y = 80 * draw(), 80 * draw()
                corners = [x, y, x + 5 + 20 * draw(), y + 5 + 20 * draw()]
                truth.append((sample, kind, corners))
                if draw() < 0.8:
                    moved = [corner + 4 * (draw() - 0.5) for corner in corners]
                    found.append((sample, kind, moved, 0.3 + 0.7 * draw()))
            for _ in range(3):
                x, y = 80 * draw(), 80 * draw()
                found.append((sample, kind, [x, y, x + 5 + 20 * draw(), y + 5 + 20 * draw()], 0.8 * draw()))
    return truth, found


def main():
    truth, found = made()
    box = lambda c: [c[0], c[1], c[2] - c[0], c[3] - c[1]]
    coco = COCO()
    coco.dataset = {"images": [{"id": i} for i in range(5)], "categories": [{"id": k} for k in range(1, 4)],
                    "annotations": [{"id": i + 1, "image_id": s, "category_id": k, "bbox": box(c), "area": box(c)[2] * box(c)[3], "iscrowd": 0} for i, (s, k, c) in enumerate(truth)]}
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
        results = coco.loadRes([{"image_id": s, "category_id": k, "bbox": box(c), "score": score} for s, k, c, score in found])
        evaluation = COCOeval(coco, results, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][:, :, :, 0, 2]  # overlaps, recalls, kinds; boxes of all sizes, 100 of a sample
    print(len(truth), len(found))
    print("at 0.5:", repr(float(np.mean(precision[0]))), "at 0.75:", repr(float(np.mean(precision[5]))), "0.5 to 0.95:", repr(float(np.mean(precision))))


if __name__ == "__main__":
    main()
