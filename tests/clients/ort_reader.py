# SPDX-License-Identifier: Apache-2.0
"""Logits by ONNX Runtime; greedy continuations by ONNX Runtime GenAI where the directory is a package of its. See reading.py.

A graph of standard operators is judged by onnx's checker, too, and a few tokens of it are computed by onnx's reference evaluator.
"""

import pathlib

import numpy
import onnx
import onnxruntime_genai
from onnx.reference import ReferenceEvaluator
from reading import serve

import onnx_reader

FEW = 6  # tokens that the reference takes its time for
NEAR = 1e-3


class Model(onnx_reader.Model):
    def __init__(self, directory, dtype):
        super().__init__(directory, dtype)
        self.directory = pathlib.Path(directory)
        self.is_package = (self.directory / "genai_config.json").exists()
        if not self.is_package:
            onnx.checker.check_model(str(self.directory / "model.onnx"), full_check=True)

    def continuation(self, ids, count):
        if not self.is_package:
            self.ask_reference(ids[:FEW])
            return super().continuation(ids, count)
        parameters = onnxruntime_genai.GeneratorParams(model := onnxruntime_genai.Model(str(self.directory)))
        parameters.set_search_options(do_sample=False, max_length=len(ids) + count)
        generator = onnxruntime_genai.Generator(model, parameters)
        generator.append_tokens(numpy.array(ids, numpy.int32))
        made = []
        while len(made) < count:
            if generator.is_done():  # at a token that ends texts, behind which we go on
                return made + super().continuation(ids + made, count - len(made))
            generator.generate_next_token()
            made.append(int(generator.get_next_tokens()[0]))
        return made

    def ask_reference(self, ids):
        outputs = ReferenceEvaluator(str(self.directory / "model.onnx")).run(["logits"], self.feed(ids, {}))
        gap = numpy.abs(outputs[0][0] - self.step(ids, {})[0]).max()
        if not gap <= NEAR:
            raise RuntimeError(f"onnx's reference differs by {gap}")


if __name__ == "__main__":
    serve(Model)
