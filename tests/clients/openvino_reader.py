# SPDX-License-Identifier: Apache-2.0
"""Logits and greedy continuations by OpenVINO from the model.onnx of a directory, in f32. See reading.py."""

import pathlib

import numpy
import openvino
from onnx_graph import Decoder
from reading import serve

EXACT = {"DYNAMIC_QUANTIZATION_GROUP_SIZE": "0", "INFERENCE_PRECISION_HINT": "f32", "KV_CACHE_PRECISION": "f32"}


class Model(Decoder):
    def __init__(self, directory, dtype):
        self.model = openvino.Core().compile_model(str(pathlib.Path(directory) / "model.onnx"), "CPU", EXACT)
        self.inputs = {i.any_name: i for i in self.model.inputs}
        self.outputs = [o.any_name for o in self.model.outputs]

    def room(self, name):
        shape = self.inputs[name].partial_shape
        return numpy.zeros((1, shape[1].get_length(), 0, shape[3].get_length()), numpy.float32)

    def run(self, feed):
        made = self.model(feed)
        return {name: made[self.model.output(name)] for name in self.outputs}


if __name__ == "__main__":
    serve(Model)
