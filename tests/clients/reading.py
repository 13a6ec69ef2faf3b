# SPDX-License-Identifier: Apache-2.0
"""What programs of tests/clients that ask a foreign runtime have in common: they are called as

    PYTHON mlx_reader.py|transformers_reader.py|vllm_reader.py|onnx_reader.py JOBS

JOBS: a JSON list of {"model": directory, "dtype": what to compute in, "ids": prompt, "new": tokens to continue it by, "out": folder}. A runtime
continues each prompt greedily by itself; the folder gets `ids`, text, the prompt and its continuation, and `logits`, little-endian f32 [ids,
vocabulary], of all of it in one pass. Where the runtime refuses or fails it gets `error` instead.
"""

import json
import pathlib
import sys
import traceback

import numpy


def serve(load):
    """load(directory, dtype) gives an object with continuation(ids, count) -> ids and logits(ids) -> [ids, vocabulary]."""
    for job in json.loads(pathlib.Path(sys.argv[1]).read_text()):
        out = pathlib.Path(job["out"])
        out.mkdir(parents=True, exist_ok=True)
        model = None  # the memory of the one before
        try:
            model = load(job["model"], job["dtype"])
            ids = job["ids"] + [int(token) for token in model.continuation(job["ids"], job["new"])]
            logits = numpy.asarray(model.logits(ids), dtype="<f4")
            if logits.shape[0] != len(ids):
                raise RuntimeError(f"logits of {logits.shape[0]} positions, not of {len(ids)}")
            logits.tofile(out / "logits")
            (out / "ids").write_text(" ".join(map(str, ids)))
        except Exception as failure:  # whatever it is: the next directory is another matter
            traceback.print_exc()
            (out / "error").write_text(f"{type(failure).__name__}: {failure}")
