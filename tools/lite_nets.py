#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What LiteRT makes of nets that nibble writes as TensorFlow Lite: tests/data/nets/lite/NAME.npz holds the outputs ("out/NAME") for the inputs of NAME.npz
beside it, and classifier_codes.tflite is the classifier quantized on its own input, turned in twelve ways. Needs numpy and ai-edge-litert.
"""

import argparse
import pathlib
import subprocess
import tempfile

import numpy as np
from ai_edge_litert.interpreter import Interpreter

CONVERTED = ("classifier", "blocks_of_four_bits", "mobile_places", "quantized_pairs", "rows")


def outputs(path, arrays):
    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    for detail in interpreter.get_input_details():
        interpreter.set_tensor(detail["index"], arrays["in/" + detail["name"]].astype(detail["dtype"]))
    interpreter.invoke()
    return {"out/" + detail["name"]: interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("nibble")
    parser.add_argument("--nets", type=pathlib.Path, default=pathlib.Path(__file__).parent.parent / "tests/data/nets")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        for name in CONVERTED:
            subprocess.run([arguments.nibble, "convert", arguments.nets / f"{name}.onnx", "-o", folder / f"{name}.tflite"], check=True)
            arrays = np.load(arguments.nets / f"{name}.npz")
            np.savez(arguments.nets / f"lite/{name}.npz", **outputs(folder / f"{name}.tflite", arrays))
        arrays = np.load(arguments.nets / "classifier.npz")
        image = arrays["in/image"]
        np.savez(folder / "s.npz", image=np.stack([np.roll(image.ravel(), -7 * i).reshape(image.shape) for i in range(12)]))
        written = arguments.nets / "lite/classifier_codes.tflite"
        subprocess.run([arguments.nibble, "quantize", arguments.nets / "classifier.onnx", "-f", "int8", "--samples", folder / "s.npz", "--max-drop", "100",
                        "-o", written], check=True, stdout=subprocess.DEVNULL)
        np.savez(written.with_suffix(".npz"), **{"in/image": image}, **outputs(written, arrays))
