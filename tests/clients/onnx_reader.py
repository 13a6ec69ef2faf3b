# SPDX-License-Identifier: Apache-2.0
"""Logits and greedy continuations by ONNX Runtime from the model.onnx of a directory, with keys and values handed on. See reading.py.

ONNX_PROVIDER: CPUExecutionProvider (default), CUDAExecutionProvider or TensorrtExecutionProvider, which must take the whole graph.
"""

import os
import pathlib

import numpy
import onnxruntime
from reading import serve

PROVIDER = os.environ.get("ONNX_PROVIDER", "CPUExecutionProvider")


class Model:
    def __init__(self, directory, dtype):
        options = onnxruntime.SessionOptions()
        # Products of decoded weights: by itself the runtime rounds inputs to 8 bits where it fuses.
        options.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", "0")
        if PROVIDER != "CPUExecutionProvider":
            options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        self.session = onnxruntime.InferenceSession(pathlib.Path(directory) / "model.onnx", options, providers=[PROVIDER])
        self.inputs = {i.name: i for i in self.session.get_inputs()}
        self.outputs = [o.name for o in self.session.get_outputs()]

    def step(self, ids, past):
        """-> logits [ids, vocabulary], what `past` is for the next step."""
        seen = next(iter(past.values())).shape[2] if past else 0
        feed = {"input_ids": numpy.array([ids], numpy.int64)}
        if "attention_mask" in self.inputs:
            feed["attention_mask"] = numpy.ones((1, seen + len(ids)), numpy.int64)
        if "position_ids" in self.inputs:
            feed["position_ids"] = numpy.arange(seen, seen + len(ids), dtype=numpy.int64)[None]
        for name, i in self.inputs.items():
            if name.startswith("past"):
                dtype = numpy.float16 if "float16" in i.type else numpy.float32
                feed[name] = past[name] if past else numpy.zeros((1, i.shape[1], 0, i.shape[3]), dtype)
        made = dict(zip(self.outputs, self.session.run(self.outputs, feed)))
        kept = {name.replace("present", "past_key_values", 1): value for name, value in made.items() if name.startswith("present")}
        return made["logits"][0].astype(numpy.float32), kept

    def continuation(self, ids, count):
        logits, past = self.step(ids, {})
        made = [int(logits[-1].argmax())]
        while len(made) < count:
            logits, past = self.step(made[-1:], past)
            made.append(int(logits[-1].argmax()))
        return made

    def logits(self, ids):
        return self.step(ids, {})[0]


if __name__ == "__main__":
    serve(Model)
