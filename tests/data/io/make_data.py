# SPDX-License-Identifier: Apache-2.0
"""Writes the files of this directory with the packages `safetensors` and `gguf`, so that the readers meet files that are not their own.

Usage: python make_data.py   (in this directory)
"""
import gguf
import numpy as np
from safetensors.numpy import save_file


def ramp(count, dtype):
    """Values that every type here holds exactly: -8, -7.5, ... in steps of one half."""
    return ((np.arange(count) % 32) * 0.5 - 8).astype(dtype)


def write_safetensors():
    tensors = {
        "matrix.f32": ramp(6 * 8, np.float32).reshape(6, 8),
        "matrix.f16": ramp(4 * 8, np.float16).reshape(4, 8),
        "stack.f32": ramp(2 * 3 * 4, np.float32).reshape(2, 3, 4),
        "vector.f32": ramp(5, np.float32),
        "double": ramp(3, np.float64),
        "ids": np.arange(7, dtype=np.int64),
        "bytes": np.arange(9, dtype=np.uint8),
        "flags": np.array([True, False, True]),
        "scalar": np.array(2.5, dtype=np.float32),
        "nothing": np.zeros((0, 4), dtype=np.float32),
    }
    save_file(tensors, "python.safetensors", metadata={"format": "pt", "note": "größe"})


def add_metadata(writer):
    writer.add_uint8("t.u8", 200)
    writer.add_int8("t.i8", -100)
    writer.add_uint16("t.u16", 60000)
    writer.add_int16("t.i16", -30000)
    writer.add_uint32("t.u32", 4000000000)
    writer.add_int32("t.i32", -2000000000)
    writer.add_uint64("t.u64", 2**63 + 1)
    writer.add_int64("t.i64", -(2**62))
    writer.add_float32("t.f32", 0.1)
    writer.add_float64("t.f64", 0.1)
    writer.add_bool("t.yes", True)
    writer.add_bool("t.no", False)
    writer.add_string("t.text", "größe")
    writer.add_array("t.strings", ["", "a", "bc"])
    writer.add_array("t.ints", [1, -2, 3])
    writer.add_array("t.floats", [0.5, -1.5])
    writer.add_array("t.bools", [True, False, True])


def write_gguf():
    writer = gguf.GGUFWriter("python.gguf", "llama")
    add_metadata(writer)
    writer.add_tensor("matrix.f32", ramp(6 * 8, np.float32).reshape(6, 8))
    writer.add_tensor("matrix.f16", ramp(4 * 8, np.float16).reshape(4, 8))
    writer.add_tensor("vector.f32", ramp(5, np.float32))
    writer.add_tensor("experts.f32", ramp(2 * 3 * 4, np.float32).reshape(2, 3, 4))
    # Blocks of 32 whose largest magnitude is 127 have the scale 1, so that Q8_0 is exact.
    exact = (np.arange(2 * 64) % 32 * 8 - 121).clip(-127, 127).astype(np.float32).reshape(2, 64)
    writer.add_tensor("matrix.q8_0", gguf.quants.quantize(exact, gguf.GGMLQuantizationType.Q8_0), raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.add_tensor("ids", np.arange(7, dtype=np.int32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_references():
    """Files of tensors that nibble writes, too: its writers must give the same bytes."""
    tensors = {"b.weight": ramp(4 * 32, np.float16).reshape(4, 32), "a.weight": ramp(5, np.float32), "c \"größe\"": ramp(2 * 32, np.float32).reshape(2, 32)}
    save_file(tensors, "reference.safetensors", metadata={"format": "pt"})
    writer = gguf.GGUFWriter("reference.gguf", "llama")
    add_metadata(writer)
    for name, tensor in tensors.items():
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


write_safetensors()
write_gguf()
write_references()
