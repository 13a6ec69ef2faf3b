#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/data/packings/{gptq,awq,awq_gemv,mlx,pack_quantized,fp8_blocks}.safetensors: matrices as other programs pack them.

For each case NAME the tensors of the layout (NAME.qweight ...), and what is in them: NAME.codes (U8 [out, in], stored codes), NAME.weights (F32), and
where there are any NAME.zero_points (U8 [out, groups]) and NAME.order (I32 [in]). GPTQ and AWQ are packed by NumPy, bit by bit, and decoded again by
shifts of whole words as the kernels of other programs do it. MLX's are made and decoded by the package mlx, pack-quantized ones by
compressed-tensors. FP8 in blocks is decoded by torch.

Needs numpy, torch, safetensors, compressed-tensors (0.20.1 was used) and mlx[cpu] (0.32.4 was used).
"""

import argparse
import pathlib

import numpy as np
import torch
from safetensors.torch import save_file

AWQ_ORDER = [0, 2, 4, 6, 1, 3, 5, 7]


def random_numbers(seed):
    return np.random.default_rng(seed)


def words_of_bits(codes, bits):
    """[lines, n] codes -> [lines, n * bits / 32] words, the least significant bit of the first code first."""
    lines, count = codes.shape
    stream = ((codes[:, :, None].astype(np.uint64) >> np.arange(bits, dtype=np.uint64)) & 1).reshape(lines, count * bits)
    assert stream.shape[1] % 32 == 0
    words = (stream.reshape(lines, -1, 32) << np.arange(32, dtype=np.uint64)).sum(axis=2)
    return words.astype(np.uint32).view(np.int32)


def half(x):
    return np.asarray(x, np.float32).astype(np.float16)


def gptq_case(bits, form, symmetric=False, ordered=False, group=32, outputs=32, inputs=96, seed=1):
    rng = random_numbers(seed)
    groups = -(-inputs // group) if group > 0 else 1
    size = group if group > 0 else inputs
    codes = rng.integers(0, 2**bits, (outputs, inputs))
    # Zero points of 0 are read in different ways where they are stored less 1.
    low = 1 if form == "gptq" else 0
    zeros = np.full((outputs, groups), 2 ** (bits - 1)) if symmetric else rng.integers(low, 2**bits, (outputs, groups))
    scales = half(rng.uniform(0.01, 0.1, (outputs, groups)))
    g_idx = np.arange(inputs) // size
    order = np.arange(inputs)
    if ordered:
        g_idx = rng.permutation(g_idx)
        order = np.argsort(g_idx, kind="stable")
    weights = scales.astype(np.float32)[:, g_idx] * (codes - zeros[:, g_idx]).astype(np.float32)
    stored_zeros = zeros - 1 if form == "gptq" else zeros
    tensors = {
        "qweight": words_of_bits(codes, bits).T.copy(),
        "qzeros": words_of_bits((stored_zeros.T) % 2**bits, bits),
        "scales": scales.T.copy(),
        "g_idx": g_idx.astype(np.int32),
    }
    if bits != 3:
        shifts = np.arange(0, 32, bits)
        q = (tensors["qweight"].view(np.uint32)[:, None, :] >> shifts[None, :, None]) & (2**bits - 1)
        z = (tensors["qzeros"].view(np.uint32)[:, :, None] >> shifts[None, None, :]) & (2**bits - 1)
        z = z.reshape(groups, outputs) + (1 if form == "gptq" else 0)
        again = scales.T.astype(np.float32)[g_idx] * (q.reshape(inputs, outputs).astype(np.int64) - z[g_idx]).astype(np.float32)
        assert np.array_equal(again.T, weights)
    tensors |= {"codes": codes[:, order].astype(np.uint8), "weights": weights, "order": order.astype(np.int32)}
    if not symmetric:
        tensors["zero_points"] = zeros.astype(np.uint8)
    return tensors


def awq_case(symmetric=False, group=32, outputs=24, inputs=80, seed=2):
    rng = random_numbers(seed)
    groups = -(-inputs // group)
    codes = rng.integers(0, 16, (outputs, inputs))
    zeros = np.full((outputs, groups), 8) if symmetric else rng.integers(0, 16, (outputs, groups))
    scales = half(rng.uniform(0.01, 0.1, (outputs, groups)))
    g_idx = np.arange(inputs) // group
    weights = scales.astype(np.float32)[:, g_idx] * (codes - zeros[:, g_idx]).astype(np.float32)

    def pack(lines):
        words = np.zeros((lines.shape[0], outputs // 8), np.uint32)
        for nibble, output in enumerate(AWQ_ORDER):
            words |= lines[:, output::8].astype(np.uint32) << np.uint32(4 * nibble)
        return words.view(np.int32)

    tensors = {"qweight": pack(codes.T), "qzeros": pack(zeros.T), "scales": scales.T.copy()}
    # As kernels do it: nibbles in their own order, then outputs gathered.
    nibbles = (tensors["qweight"].view(np.uint32)[:, :, None] >> np.arange(0, 32, 4, dtype=np.uint32)) & 15
    assert np.array_equal(nibbles[:, :, [0, 4, 1, 5, 2, 6, 3, 7]].reshape(inputs, outputs), codes.T)
    tensors |= {"codes": codes.astype(np.uint8), "weights": weights}
    if not symmetric:
        tensors["zero_points"] = zeros.astype(np.uint8)
    return tensors


def gemv_case(symmetric=False, group=32, outputs=24, inputs=96, seed=8):
    """Room for zero points as AutoAWQ's calculate_zeros_width leaves it: words of 8, in fours for groups of 32."""
    rng = random_numbers(seed)
    groups = inputs // group
    width = -(-(-(-groups // 8)) // {32: 4, 64: 2}.get(group, 1)) * {32: 4, 64: 2}.get(group, 1)
    codes = rng.integers(0, 16, (outputs, inputs))
    zeros = np.full((outputs, groups), 8) if symmetric else rng.integers(0, 16, (outputs, groups))
    scales = half(rng.uniform(0.01, 0.1, (outputs, groups)))
    g_idx = np.arange(inputs) // group
    room = lambda x, dtype: np.pad(x, ((0, 0), (0, 8 * width - groups))).astype(dtype)
    tensors = {
        "qweight": words_of_bits(codes, 4),
        "qzeros": words_of_bits(room(zeros, np.int64), 4),
        "scales": room(scales, np.float16),
        "codes": codes.astype(np.uint8),
        "weights": scales.astype(np.float32)[:, g_idx] * (codes - zeros[:, g_idx]).astype(np.float32),
    }
    if not symmetric:
        tensors["zero_points"] = zeros.astype(np.uint8)
    return tensors


def codes_of_words(words, bits, count):
    stream = (words.view(np.uint32)[:, :, None] >> np.arange(32, dtype=np.uint32)) & 1
    stream = stream.reshape(words.shape[0], -1)[:, : count * bits].reshape(words.shape[0], count, bits)
    return (stream << np.arange(bits, dtype=np.uint32)).sum(axis=2).astype(np.uint8)


def mlx_case(bits, dtype, group=32, outputs=24, inputs=96, seed=3):
    import mlx.core as mx

    x = mx.array(random_numbers(seed).normal(size=(outputs, inputs)).astype(np.float32)).astype(dtype)
    weight, scales, biases = mx.quantize(x, group_size=group, bits=bits)
    # In f32, so that the weights are those of the stored scales: in the scales' own type mlx rounds what it decodes.
    decoded = mx.dequantize(weight, scales.astype(mx.float32), biases.astype(mx.float32), group_size=group, bits=bits)

    def tensor(x):
        if x.dtype == mx.bfloat16:
            return torch.from_numpy(np.array(x.view(mx.uint16)).view(np.int16).copy()).view(torch.bfloat16)
        return torch.from_numpy(np.array(x))

    words = np.array(weight)
    return {
        "weight": torch.from_numpy(words.view(np.int32).copy()).view(torch.uint32),
        "scales": tensor(scales),
        "biases": tensor(biases),
        "codes": codes_of_words(words, bits, inputs),
        "weights": np.array(decoded.astype(mx.float32)),
    }


def pack_quantized_case(bits, symmetric, group=32, outputs=20, inputs=96, ordered=False, seed=4):
    from compressed_tensors.compressors.pack_quantized.helpers import pack_to_int32

    rng = random_numbers(seed)
    groups = -(-inputs // group) if group > 0 else 1
    size = group if group > 0 else inputs
    half_range = 2 ** (bits - 1)
    q = rng.integers(-half_range, half_range, (outputs, inputs)).astype(np.int8)
    z = np.zeros((outputs, groups), np.int8) if symmetric else rng.integers(-half_range, half_range, (outputs, groups)).astype(np.int8)
    scales = torch.from_numpy(rng.uniform(0.01, 0.1, (outputs, groups)).astype(np.float32)).to(torch.bfloat16)
    g_idx = np.arange(inputs) // size
    order = np.arange(inputs)
    if ordered:
        g_idx = rng.permutation(g_idx)
        order = np.argsort(g_idx, kind="stable")
    weights = scales.float().numpy()[:, g_idx] * (q.astype(np.float32) - z[:, g_idx].astype(np.float32))
    tensors = {
        "weight_packed": pack_to_int32(torch.from_numpy(q), bits).contiguous(),
        "weight_scale": scales,
        "weight_shape": np.array([outputs, inputs], np.int64),
        "codes": (q.astype(np.int16) + half_range).astype(np.uint8)[:, order],
        "weights": weights,
        "order": order.astype(np.int32),
    }
    if ordered:
        tensors["weight_g_idx"] = g_idx.astype(np.int32)
    if not symmetric:
        tensors["weight_zero_point"] = pack_to_int32(torch.from_numpy(z), bits, packed_dim=0).contiguous()
        tensors["zero_points"] = (z.astype(np.int16) + half_range).astype(np.uint8)
    return tensors


def fp8_case(dtype, outputs=130, inputs=150, block=128, seed=5):
    generator = torch.Generator().manual_seed(seed)
    weight = (torch.randn(outputs, inputs, generator=generator) * 100).to(torch.float8_e4m3fn)
    scales = (torch.rand(-(-outputs // block), -(-inputs // block), generator=generator) + 0.1).to(dtype)
    wide = scales.float().repeat_interleave(block, 0)[:outputs].repeat_interleave(block, 1)[:, :inputs]
    return {"weight": weight, "weight_scale_inv": scales, "codes": weight.view(torch.uint8).clone(), "weights": weight.float() * wide}


def write(path, cases):
    tensors = {}
    for name, case in cases.items():
        for key, value in case.items():
            tensors[f"{name}.{key}"] = value if isinstance(value, torch.Tensor) else torch.from_numpy(np.ascontiguousarray(value))
    save_file(tensors, path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("tests/data/packings"))
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    gptq = {f"{form}_{bits}": gptq_case(bits, form, seed=bits) for bits in (2, 3, 4, 8) for form in ("gptq", "gptq_v2")}
    gptq |= {f"symmetric_{bits}": gptq_case(bits, "gptq", symmetric=True, seed=10 + bits) for bits in (2, 3, 4, 8)}
    gptq |= {f"ordered_{bits}": gptq_case(bits, "gptq", ordered=True, seed=20 + bits) for bits in (2, 3, 4, 8)}
    gptq["short_4"] = gptq_case(4, "gptq", group=64, inputs=96, seed=30)
    gptq["row_4"] = gptq_case(4, "gptq", group=0, seed=31)
    gptq["narrow_4"] = gptq_case(4, "gptq_v2", outputs=8, inputs=40, group=16, seed=32)
    write(out / "gptq.safetensors", gptq)
    write(out / "awq.safetensors", {"asymmetric": awq_case(), "symmetric": awq_case(symmetric=True, seed=6)})
    gemv = {"asymmetric": gemv_case(), "symmetric": gemv_case(symmetric=True, seed=9), "many_groups": gemv_case(group=64, inputs=640, outputs=8, seed=10)}
    write(out / "awq_gemv.safetensors", gemv)
    pack = {}
    for bits in range(2, 9):
        pack[f"symmetric_{bits}"] = pack_quantized_case(bits, True, seed=40 + bits)
        pack[f"asymmetric_{bits}"] = pack_quantized_case(bits, False, seed=50 + bits)
    pack["ragged_4"] = pack_quantized_case(4, False, outputs=11, inputs=67, seed=60)
    pack["ragged_3"] = pack_quantized_case(3, True, outputs=5, inputs=50, seed=61)
    pack["channel_4"] = pack_quantized_case(4, True, group=0, seed=62)
    pack["ordered_4"] = pack_quantized_case(4, False, ordered=True, seed=63)
    write(out / "pack_quantized.safetensors", pack)
    write(out / "fp8_blocks.safetensors", {"f32": fp8_case(torch.float32), "bf16": fp8_case(torch.bfloat16, outputs=131, inputs=20, seed=7)})
    import mlx.core as mx

    mlx = {f"affine_{bits}": mlx_case(bits, mx.float16, seed=70 + bits) for bits in (2, 3, 4, 5, 6, 8)}
    mlx["bf16_4"] = mlx_case(4, mx.bfloat16, seed=80)
    mlx["f32_4"] = mlx_case(4, mx.float32, group=64, inputs=128, seed=81)
    write(out / "mlx.safetensors", mlx)


if __name__ == "__main__":
    main()
