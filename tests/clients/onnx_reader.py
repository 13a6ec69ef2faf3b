# SPDX-License-Identifier: Apache-2.0
"""Logits and greedy continuations by ONNX Runtime from the model.onnx of a directory, with keys and values handed on. See reading.py.

ONNX_PROVIDER: CPUExecutionProvider (default), CUDAExecutionProvider or TensorrtExecutionProvider, which must take the whole graph.
"""

import json
import os
import pathlib

import numpy
import onnxruntime
from onnx_graph import Decoder
from reading import serve

PROVIDER = os.environ.get("ONNX_PROVIDER", "CPUExecutionProvider")


class Model(Decoder):
    def __init__(self, directory, dtype):
        options = onnxruntime.SessionOptions()
        # Products of decoded weights: by itself the runtime rounds inputs to 8 bits where it fuses.
        options.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", "0")
        if PROVIDER != "CPUExecutionProvider":
            options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        self.session = onnxruntime.InferenceSession(pathlib.Path(directory) / "model.onnx", options, providers=[PROVIDER])
        self.inputs = {i.name: i for i in self.session.get_inputs()}
        self.outputs = [o.name for o in self.session.get_outputs()]
        settings = pathlib.Path(directory) / "genai_config.json"
        self.settings = json.loads(settings.read_text())["model"]["decoder"] if settings.exists() else {}

    def room(self, name):
        i = self.inputs[name]
        width = i.shape[3] if isinstance(i.shape[3], int) else self.settings["head_size"]  # which packages of the builder name otherwise
        return numpy.zeros((1, i.shape[1], 0, width), numpy.float16 if "float16" in i.type else numpy.float32)

    def run(self, feed):
        return dict(zip(self.outputs, self.session.run(self.outputs, feed)))


if __name__ == "__main__":
    serve(Model)
