# SPDX-License-Identifier: Apache-2.0
"""How programs pack the matrices of a model, and what they then mean: one class for each, for reference_quantized.py."""

import json
import os

os.environ["TORCHDYNAMO_DISABLE"] = "1"

import numpy as np
import torch


def words(codes, order=range(8)):
    """[lines, n] codes of 4 bits -> [lines, n / 8] words; nibble i of a word is its code order[i]."""
    eights = codes.astype(np.uint32).reshape(codes.shape[0], -1, 8)[:, :, list(order)]
    return np.ascontiguousarray(np.bitwise_or.reduce(eights << np.arange(0, 32, 4, dtype=np.uint32), axis=2)).view(np.int32)


def affine_codes(weight, g_idx, lowest_zero, bits=4):
    """Codes and zero points, and half-precision scales; the group of each input is given."""
    largest = 2**bits - 1
    w = weight.float().numpy()
    groups = int(g_idx.max()) + 1
    low = np.stack([np.minimum(w[:, g_idx == g].min(axis=1), 0) for g in range(groups)], axis=1)
    high = np.stack([np.maximum(w[:, g_idx == g].max(axis=1), 0) for g in range(groups)], axis=1)
    scales = ((high - low) / largest).astype(np.float16)
    wide = scales.astype(np.float32)
    zeros = np.clip(np.rint(-low / wide), lowest_zero, largest).astype(np.int64)
    codes = np.clip(np.rint(w / wide[:, g_idx]) + zeros[:, g_idx], 0, largest).astype(np.int64)
    return codes, zeros, scales


class Packer:
    """What a program makes of each matrix. source: the tiny model, or the configuration of one that is made; dtype: of what stays as it is."""

    source = "tiny_gqa_llama3rope"
    dtype = torch.float16
    seed = 8  # of the ids that logits are taken of
    runs_itself = False  # logits are those of the program's own loading

    def packs(self, name):
        return name.endswith("_proj.weight")

    def settings(self):
        """What config.json says besides."""
        raise NotImplementedError

    def pack(self, name, weight):
        """The tensors of a matrix by their names, and the matrix that they mean."""
        raise NotImplementedError

    def pack_model(self, source, weights):
        """All tensors of the model in the directory `source`, and what they mean."""
        packed, decoded = {}, {}
        for key, weight in weights.items():
            if self.packs(key):
                tensors, decoded[key] = self.pack(key, weight)
                packed |= tensors
            else:
                packed[key] = weight.to(self.dtype)
                decoded[key] = packed[key].float()
        return packed, decoded


class Gptq(Packer):
    def __init__(self):
        self.rng = np.random.default_rng(7)

    def settings(self):
        own = {"bits": 4, "checkpoint_format": "gptq", "desc_act": True, "group_size": 32, "quant_method": "gptq", "sym": False}
        return {"quantization_config": own}

    def pack(self, name, weight):
        g_idx = np.arange(weight.shape[1]) // 32
        if ".layers.0." in name:
            g_idx = self.rng.permutation(g_idx)
        codes, zeros, scales = affine_codes(weight, g_idx, 1)
        decoded = scales.astype(np.float32)[:, g_idx] * (codes - zeros[:, g_idx]).astype(np.float32)
        tensors = {
            "qweight": words(codes).T.copy(),
            "qzeros": words(zeros.T - 1),
            "scales": scales.T.copy(),
            "g_idx": g_idx.astype(np.int32),
        }
        layer = name.removesuffix("weight")
        return {layer + key: torch.from_numpy(value) for key, value in tensors.items()}, torch.from_numpy(decoded)


class GptOss(Packer):
    source = "tiny_gptoss"
    dtype = torch.bfloat16

    def __init__(self):
        self.generator = torch.Generator().manual_seed(9)

    def packs(self, name):
        return name.endswith(("gate_up_proj", "down_proj"))

    def settings(self):
        left = ["model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens", "lm_head"]
        return {"quantization_config": {"modules_to_not_convert": left, "quant_method": "mxfp4"}}

    def pack(self, name, weight):
        from transformers.integrations.mxfp4 import convert_moe_packed_tensors

        experts, cols, rows = weight.shape
        blocks = torch.randint(0, 256, (experts, rows, cols // 32, 16), generator=self.generator, dtype=torch.uint8)
        largest = 126 if "gate_up" in name else 124
        scales = torch.randint(largest - 3, largest, (experts, rows, cols // 32), generator=self.generator, dtype=torch.uint8)
        return {name + "_blocks": blocks, name + "_scales": scales}, convert_moe_packed_tensors(blocks, scales, dtype=torch.float32).contiguous()


class Awq(Packer):
    def settings(self):
        own = {"bits": 4, "group_size": 32, "modules_to_not_convert": None, "quant_method": "awq", "version": "gemm", "zero_point": True}
        return {"quantization_config": own}

    def pack(self, name, weight):
        from awq.utils.packing_utils import AWQ_ORDER, dequantize_gemm

        codes, zeros, scales = affine_codes(weight, np.arange(weight.shape[1]) // 32, 0)
        qweight, qzeros = torch.from_numpy(words(codes.T, AWQ_ORDER)), torch.from_numpy(words(zeros.T, AWQ_ORDER))
        scales = torch.from_numpy(scales.T.copy())
        layer = name.removesuffix("weight")
        decoded = dequantize_gemm(qweight, qzeros, scales.float(), 4, 32).T.contiguous()
        return {layer + "qweight": qweight, layer + "qzeros": qzeros, layer + "scales": scales}, decoded


class Bitnet(Packer):
    def settings(self):
        return {"quantization_config": {"linear_class": "bitlinear", "modules_to_not_convert": ["lm_head"], "quant_method": "bitnet"}}

    def pack(self, name, weight):
        from transformers.integrations.bitnet import pack_weights, unpack_weights

        scale = (1 / weight.abs().mean()).to(torch.float16)
        packed = pack_weights((weight * scale.float()).round().clamp(-1, 1))
        return {name: packed, name + "_scale": scale.reshape(1)}, unpack_weights(packed, torch.float32) / scale.float()


class BitnetAsReleased(Bitnet):
    """Of the family itself: the layer multiplies by the scale, and rounds inputs to 8 bits token by token."""

    source = "tiny_bitnet"
    dtype = torch.float32
    runs_itself = True

    def settings(self):
        own = {"linear_class": "autobitlinear", "modules_to_not_convert": None, "quant_method": "bitnet", "quantization_mode": "offline"}
        return {"quantization_config": own}

    def pack(self, name, weight):
        from transformers.integrations.bitnet import pack_weights, unpack_weights

        scale = weight.abs().mean()
        packed = pack_weights((weight / scale).round().clamp(-1, 1))
        return {name: packed, name + "_scale": scale.reshape(1)}, unpack_weights(packed, torch.float32) * scale


class Bitsandbytes(Packer):
    def settings(self):
        own = {
            "_load_in_4bit": True,
            "_load_in_8bit": False,
            "bnb_4bit_compute_dtype": "float32",
            "bnb_4bit_quant_storage": "uint8",
            "bnb_4bit_quant_type": "nf4",
            "bnb_4bit_use_double_quant": True,
            "load_in_4bit": True,
            "load_in_8bit": False,
            "quant_method": "bitsandbytes",
        }
        return {"quantization_config": own}

    def kind_of(self, name):
        is_first = ".layers.0." in name
        return dict(compress_statistics=is_first, quant_type="nf4" if is_first else "fp4")

    def pack(self, name, weight):
        from bitsandbytes.functional import QuantState, dequantize_4bit, quantize_4bit

        block = 64 if weight.shape[1] % 64 == 0 else 32
        packed, state = quantize_4bit(weight, blocksize=block, **self.kind_of(name))
        parts = {f"{name}.{key}": value for key, value in state.as_dict(packed=True).items()}
        again = QuantState.from_dict(dict(parts), device=torch.device("cpu"))
        return {name: packed, **parts}, dequantize_4bit(packed, again)


class LlmInt8(Packer):
    def settings(self):
        own = {"_load_in_4bit": False, "_load_in_8bit": True, "llm_int8_threshold": 6.0, "load_in_8bit": True, "quant_method": "bitsandbytes"}
        return {"quantization_config": own}

    def pack(self, name, weight):
        from bitsandbytes.functional import int8_vectorwise_dequant, int8_vectorwise_quant

        codes, scales, _ = int8_vectorwise_quant(weight)
        layer = name.removesuffix("weight")
        parts = {name: codes, layer + "SCB": scales, layer + "weight_format": torch.tensor(0, dtype=torch.uint8)}
        return parts, int8_vectorwise_dequant(codes, scales)


class CompressedTensors(Packer):
    """A scheme for each matrix of a layer."""

    dtype = torch.bfloat16
    #     target                                  format                  arguments
    groups = [
        ("model.layers.0.self_attn.q_proj", "pack-quantized", dict(num_bits=4, strategy="group", group_size=32)),
        ("re:.*layers\\.0\\.self_attn\\.k_proj$", "pack-quantized", dict(num_bits=4, strategy="group", group_size=32, symmetric=False)),
        ("re:.*0.self_attn.v_proj", "pack-quantized", dict(num_bits=8, strategy="channel")),
        ("re:.*layers.0.self_attn.(o|p)_proj", "pack-quantized", dict(num_bits=3, strategy="group", group_size=16)),
        ("re:model.layers.[0].mlp.gate_proj", "int-quantized", dict(num_bits=8, strategy="group", group_size=32)),
        ("model.layers.0.mlp.up_proj", "int-quantized", dict(num_bits=8, strategy="channel", symmetric=False)),
        ("model.layers.0.mlp.down_proj", "int-quantized", dict(num_bits=8, strategy="tensor")),
        ("model.layers.1.self_attn.q_proj", "float-quantized", dict(num_bits=8, type="float", strategy="channel")),
        ("model.layers.1.self_attn.k_proj", "float-quantized", dict(num_bits=8, type="float", strategy="tensor")),
        ("model.layers.1.self_attn.v_proj", "float-quantized", dict(num_bits=8, type="float", strategy="block", block_structure=[16, 32])),
        ("re:^(?!.*mlp).*layers.1.*o_proj", "mxfp4-pack-quantized", dict(num_bits=4, type="float", strategy="group", group_size=32)),
        ("model.layers.1.mlp.gate_proj", "nvfp4-pack-quantized", dict(num_bits=4, type="float", strategy="tensor_group", group_size=16)),
        ("model.layers.1.mlp.up_proj", "mxfp8-quantized", dict(num_bits=8, type="float", strategy="group", group_size=32)),
        ("Linear", "nvfp4-pack-quantized", dict(num_bits=4, type="float", strategy="tensor_group", group_size=16)),
        ("re:.*head", "float-quantized", dict(num_bits=8, type="float", strategy="group", group_size=32)),
        # Matches gate_proj, too, but behind the other in the alphabet.
        ("re:model\\.layers\\.0\\.mlp.*", "naive-quantized", dict(num_bits=8, strategy="group", group_size=16)),
    ]
    ignored = ["model.embed_tokens", "re:.*norm"]

    def packs(self, name):
        return "_proj" in name or "lm_head" in name

    def scheme(self, group):
        from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme

        target, form, arguments = group
        return QuantizationScheme(targets=[target], weights=QuantizationArgs(**arguments), format=form)

    def settings(self):
        schemes = {f"group_{i}": json.loads(self.scheme(group).model_dump_json()) for i, group in enumerate(self.groups)}
        own = {
            "config_groups": schemes,
            "format": "mixed-precision",
            "ignore": self.ignored,
            "kv_cache_scheme": None,
            "quant_method": "compressed-tensors",
            "quantization_status": "compressed",
            "sparsity_config": {},
            "transform_config": {},
        }
        return {"quantization_config": own}

    def group_of(self, name):
        from compressed_tensors.utils import match_name

        module = name.removesuffix(".weight")
        expressions = sorted((group for group in self.groups if match_name(module, group[0])), key=lambda group: ("re:" in group[0], group[0]))
        return expressions[0] if expressions else next(group for group in self.groups if group[0] == "Linear")

    def grids(self, weight, args):
        """Scales and zero points of the weights' ranges, and the scale of the whole tensor."""
        from compressed_tensors.quantization.utils import calculate_qparams, calculate_range, generate_gparam

        rows, cols = weight.shape
        if args.strategy == "block":
            r, c = args.block_structure
            runs = weight.reshape(rows // r, r, cols // c, c).transpose(1, 2).flatten(2)
        else:
            size = args.group_size if args.strategy in ("group", "tensor_group") else cols
            runs = weight.reshape(rows, cols // size, size) if args.strategy != "tensor" else weight.reshape(1, 1, -1)
        low, high = runs.amin(dim=-1), runs.amax(dim=-1)
        whole = generate_gparam(weight.min(), weight.max()) if args.strategy == "tensor_group" else None
        scale, zero = calculate_qparams(low, high, args, global_scale=whole)
        return (scale.reshape(1), zero.reshape(1), whole) if args.strategy == "tensor" else (scale, zero, whole)

    def pack(self, name, weight):
        from compressed_tensors.compressors import BaseCompressor

        scheme = self.scheme(self.group_of(name))
        args = scheme.weights
        scale, zero, whole = self.grids(weight, args)
        if scale.dtype == torch.float32 and scheme.format in ("pack-quantized", "int-quantized", "float-quantized"):
            scale = scale.to(self.dtype).float()
        state = {"weight": weight, "weight_scale": scale, "weight_zero_point": zero}
        if whole is not None:
            state["weight_global_scale"] = whole.reshape(1)
        packed = BaseCompressor.load_from_registry(scheme.format).compress(state, scheme)
        decoded = self.decompress(packed, scheme)
        if scheme.format in ("pack-quantized", "int-quantized", "float-quantized"):
            packed["weight_scale"] = packed["weight_scale"].to(self.dtype)
        layer = name.removesuffix("weight")
        return {layer + key: value.contiguous() for key, value in packed.items()}, decoded.contiguous()

    def decompress(self, packed, scheme):
        """By the program's own steps, each in float32; its own types for 4-bit floats would round what they mean."""
        from compressed_tensors.compressors import BaseCompressor
        from compressed_tensors.compressors.mx_utils import decompress_mx_scale
        from compressed_tensors.compressors.nvfp4.helpers import unpack_fp4_from_uint8
        from compressed_tensors.quantization.lifecycle.forward import dequantize

        args = scheme.weights
        if scheme.format in ("pack-quantized", "int-quantized", "float-quantized"):
            return BaseCompressor.load_from_registry(scheme.format).decompress(packed, scheme)["weight"]
        is_nvfp4 = scheme.format.startswith("nvfp4")
        scale = packed["weight_scale"].float() if is_nvfp4 else decompress_mx_scale(packed["weight_scale"]).float()
        if "weight_packed" in packed:
            codes = packed["weight_packed"]
            values = unpack_fp4_from_uint8(codes, codes.shape[0], codes.shape[1] * 2, dtype=torch.float32)
        else:
            values = packed["weight"].float()
        return dequantize(values, scale, args=args, global_scale=packed.get("weight_global_scale"), dtype=torch.float32)


class W8A8(CompressedTensors):
    dtype = torch.float32
    groups = [("Linear", "int-quantized", dict(num_bits=8, strategy="channel"))]
    runs_itself = True
    ignored = ["lm_head"]
    input_scales = {"q": 0.025, "k": 0.025, "v": 0.025, "o": 0.02, "gate": 0.02, "up": 0.02, "down": 0.03}

    def scheme(self, group):
        from compressed_tensors.quantization import QuantizationArgs

        made = super().scheme(group)
        made.input_activations = QuantizationArgs(num_bits=8, strategy="tensor")
        return made

    def pack(self, name, weight):
        tensors, decoded = super().pack(name, weight)
        layer, part = name.removesuffix(".weight"), name.split(".")[-2].removesuffix("_proj")
        tensors[layer + ".input_scale"] = torch.tensor([self.input_scales[part]])
        return tensors, decoded

    def packs(self, name):
        return "_proj" in name

    def settings(self):
        own = super().settings()
        own["quantization_config"]["format"] = "int-quantized"
        return own


class Fp8Blocks(Packer):
    source = "tiny_qwen2"
    dtype = torch.bfloat16
    block = 32

    def settings(self):
        own = {
            "activation_scheme": "dynamic",
            "modules_to_not_convert": ["lm_head"],
            "quant_method": "fp8",
            "weight_block_size": [self.block, self.block],
        }
        return {"quantization_config": own}

    def packs(self, name):
        return name.endswith("_proj.weight")

    def pack(self, name, weight):
        from transformers.integrations.finegrained_fp8 import _dequantize_fp8_weight

        rows, cols = weight.shape
        padded = torch.nn.functional.pad(weight.float(), (0, -cols % self.block, 0, -rows % self.block))
        blocks = padded.unflatten(0, (-1, self.block)).unflatten(2, (-1, self.block))
        scales = blocks.abs().amax(dim=(1, 3)) / 448
        wide = scales.repeat_interleave(self.block, 0)[:rows].repeat_interleave(self.block, 1)[:, :cols]
        codes = (weight.float() / wide).to(torch.float8_e4m3fn)
        decoded = _dequantize_fp8_weight(codes, scales, [self.block, self.block], torch.float32)
        return {name: codes, name + "_scale_inv": scales}, decoded.contiguous()


class Mlx(Packer):
    source = "tiny_gemma3"

    own = {
        "model.embed_tokens": dict(group_size=32, bits=6, mode="affine"),
        "model.layers.0.self_attn.q_proj": dict(group_size=64, bits=8, mode="affine"),
        "model.layers.0.self_attn.o_proj": dict(group_size=32, bits=3, mode="affine"),
        "model.layers.1.self_attn.q_proj": dict(group_size=32, bits=4, mode="mxfp4"),
        "model.layers.1.mlp.gate_proj": dict(group_size=32, bits=8, mode="mxfp8"),
        "model.layers.1.mlp.up_proj": dict(group_size=16, bits=4, mode="nvfp4"),
        **{f"model.layers.{i}.mlp.down_proj": dict(group_size=16, bits=4, mode="nvfp4") for i in range(3)},
    }
    all = dict(group_size=32, bits=4, mode="affine")

    def packs(self, name):
        return "_proj" in name or "embed" in name

    def settings(self):
        return {key: self.all | self.own for key in ("quantization", "quantization_config")}

    def pack(self, name, weight):
        import mlx.core as mx

        def tensor(x):
            return torch.from_numpy(np.array(x).copy())

        layer = name.removesuffix(".weight")
        settings = self.own.get(layer, self.all)
        x = mx.array(weight.float().numpy()).astype(mx.float16)
        parts = mx.quantize(x, **settings)
        if settings["mode"] == "affine":
            # In f32, so that the weights are those of the stored scales: in the scales' own type mlx rounds what it decodes.
            decoded = mx.dequantize(parts[0], *(part.astype(mx.float32) for part in parts[1:]), **settings)
        else:
            decoded = mx.dequantize(*parts, **settings, dtype=mx.float32)
        names = (name, layer + ".scales", layer + ".biases")
        return {key: tensor(part) for key, part in zip(names, parts)}, tensor(decoded)
