# SPDX-License-Identifier: Apache-2.0
"""Squared errors that nibble and llama-quantize leave on a model's matrices when both round them to the same ggml types.

    nibble quantize models/fable-5M -f f32 -o f32.gguf
    python tools/compare_encoders.py f32.gguf --nibble build/release/src/cli/nibble --llama-quantize PATH q4_k q3_k

Every matrix in the type, no importance. Columns: the error as a share of the sum of squares; nibble's error over llama.cpp's, of the
whole model and of its worst matrix; share of rows on which nibble's is the larger one.
"""

import argparse
import pathlib
import subprocess
import tempfile

import gguf
import numpy as np


def matrices(path):
    return {
        t.name: gguf.quants.dequantize(t.data, t.tensor_type).astype(np.float64)
        for t in gguf.GGUFReader(path).tensors
        if len(t.shape) == 2
    }


def quiet(*command):
    subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path, help="a GGUF file in F32")
    parser.add_argument("--nibble", type=pathlib.Path, required=True)
    parser.add_argument("--llama-quantize", type=pathlib.Path, required=True)
    parser.add_argument("types", nargs="+")
    options = parser.parse_args()

    original = matrices(options.model)
    total = sum((w**2).sum() for w in original.values())
    print("| type | error | of llama.cpp's | worst matrix | rows above |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        ours, theirs = pathlib.Path(scratch, "ours.gguf"), pathlib.Path(scratch, "theirs.gguf")
        for name in options.types:
            quiet(options.nibble, "quantize", options.model, "-f", name, "-o", ours)
            quiet(options.llama_quantize, "--pure", "--tensor-type", f"weight={name}", options.model, theirs, "Q8_0")
            ours_error, theirs_error = (
                {k: ((w - original[k]) ** 2).sum(1) for k, w in matrices(path).items()} for path in (ours, theirs)
            )
            ours_sum, theirs_sum = (sum(e.sum() for e in errors.values()) for errors in (ours_error, theirs_error))
            worst = max(ours_error[k].sum() / theirs_error[k].sum() for k in original)
            above = np.mean(np.concatenate([ours_error[k] > theirs_error[k] for k in original]))
            print(f"| `{name}` | {ours_sum / total:.3g} | {ours_sum / theirs_sum:.3f} | {worst:.3f} | {100 * above:.1f} % |", flush=True)
            ours.unlink()
            theirs.unlink()


if __name__ == "__main__":
    main()
