# SPDX-License-Identifier: Apache-2.0
#
# What lm-evaluation-harness' own class for transformers says of the bundled model, for tests/python/test_lm_eval.py.
#
#   python tools/reference_harness.py models/fable-5M      needs lm_eval[hf], torch
import json
import sys
from pathlib import Path

from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM

PAIRS = [
    ("Once upon a time", " there was a boy"),
    ("Tom had a small", " parrot called Pepper."),
    ("", " The sun was shining"),
    ("The dog ", "ran away."),
    ("Tom had a small parrot called Pepper. The sun was shin", "ing"),
]

model = HFLM(pretrained=sys.argv[1], device="cpu", dtype="float32", batch_size=1)
text = (Path(sys.argv[1]) / "heldout.txt").read_text()[:3000]
scores = model.loglikelihood([Instance("loglikelihood", {}, pair, i) for i, pair in enumerate(PAIRS)])
rolling = model.loglikelihood_rolling([Instance("loglikelihood_rolling", {}, (text,), 0)])
print(json.dumps({"scores": scores, "rolling": rolling}, indent=1))
