# SPDX-License-Identifier: Apache-2.0
"""The packers of quantized_packers.py, and others, for models of further families: with biases, norms of heads, and experts."""

import re

import numpy as np
import torch

from quantized_packers import Awq, Bitsandbytes, CompressedTensors, Fp8Blocks, Packer, affine_codes
from reference_logits import QWEN

QWEN2 = dict(QWEN, architectures=["Qwen2ForCausalLM"], intermediate_size=96, model_type="qwen2", tie_word_embeddings=False, vocab_size=96)
QWEN3 = dict(
    QWEN,
    architectures=["Qwen3ForCausalLM"],
    head_dim=32,
    intermediate_size=96,
    model_type="qwen3",
    num_attention_heads=3,
    num_key_value_heads=1,
    tie_word_embeddings=True,
    vocab_size=96,
)
QWEN3MOE = dict(
    QWEN3,
    architectures=["Qwen3MoeForCausalLM"],
    decoder_sparse_step=1,
    mlp_only_layers=[],
    model_type="qwen3_moe",
    moe_intermediate_size=32,
    norm_topk_prob=True,
    num_experts=3,
    num_experts_per_tok=2,
    tie_word_embeddings=False,
)


class GptqModel(Packer):
    """By the program's own packing, on grids of the weights' ranges."""

    lowest_zero = 0

    def settings_of(self, module):
        return self.settings()["quantization_config"]

    def pack(self, name, weight):
        from gptqmodel.nn_modules.qlinear.torch import TorchLinear
        from gptqmodel.quantization import QuantizeConfig
        from gptqmodel.utils.model import convert_gptq_v2_to_v1_format_module

        own = self.settings_of(name.removesuffix(".weight"))
        bits, size = own["bits"], own["group_size"]
        rows, cols = weight.shape
        g_idx = np.arange(cols) // size
        if own["desc_act"]:
            g_idx = self.rng.permutation(g_idx)
        _, zeros, scales = affine_codes(weight, g_idx, self.lowest_zero, bits)
        layer = TorchLinear(bits=bits, group_size=size, sym=False, desc_act=own["desc_act"], in_features=cols, out_features=rows, bias=False)
        linear = torch.nn.Linear(cols, rows, bias=False)
        linear.weight.data = weight.float()
        layer.pack(linear, torch.from_numpy(scales).float(), torch.from_numpy(zeros).float(), torch.from_numpy(g_idx).int())
        if own["checkpoint_format"] == "gptq":
            convert_gptq_v2_to_v1_format_module(layer, QuantizeConfig(bits=bits, group_size=size))
        tensors = {f"{name.removesuffix('weight')}{key}": value.clone() for key, value in layer.state_dict().items()}
        if own["checkpoint_format"] == "gptq":
            layer.qzeros.data += 0x11111111 if bits == 4 else 0x01010101
        layer.post_init()
        layer.eval()
        layer.scales = layer.scales.float()
        return tensors, layer.dequantize_weight().T.contiguous()


class Qwen2GptqV2(GptqModel):
    source = QWEN2

    def settings(self):
        own = {"bits": 4, "checkpoint_format": "gptq_v2", "desc_act": False, "group_size": 32, "quant_method": "gptq", "sym": False}
        return {"quantization_config": own}


class Qwen3MoeGptq(GptqModel):
    source = QWEN3MOE
    lowest_zero = 1
    dynamic = {  # the first that matches counts; in the order that sorted keys have
        "+:.*\\.experts\\.0\\.": {"desc_act": False},
        "+:.*\\.experts\\.[1-9]\\.down_proj": {"bits": 8, "group_size": 16},
        "-:.*layers\\.0\\.self_attn\\.v_proj$": {},
        ".*\\.experts\\.": {"group_size": 32},
    }

    def __init__(self):
        self.rng = np.random.default_rng(11)

    def settings(self):
        own = {"bits": 4, "checkpoint_format": "gptq", "desc_act": True, "group_size": 32, "quant_method": "gptq", "sym": False}
        return {"quantization_config": own | {"dynamic": self.dynamic}}

    def settings_of(self, module):
        from gptqmodel.quantization.config import dynamic_get

        return super().settings_of(module) | dynamic_get(self.dynamic, module, default={})

    def packs(self, name):
        from gptqmodel.quantization.config import dynamic_get

        return super().packs(name) and dynamic_get(self.dynamic, name.removesuffix(".weight")) is not False


class Qwen3MoeAwq(Awq):
    source = QWEN3MOE

    def settings(self):
        own = super().settings()
        own["quantization_config"]["modules_to_not_convert"] = ["gate", "lm_head"]
        return own


class Qwen2Bitsandbytes(Bitsandbytes):
    source = QWEN2

    def settings(self):
        own = super().settings()
        own["quantization_config"] |= {"bnb_4bit_use_double_quant": False, "llm_int8_skip_modules": ["lm_head"]}
        return own

    def kind_of(self, name):
        return dict(compress_statistics=False, quant_type="nf4")


class Qwen3MoeCompressed(CompressedTensors):
    source = QWEN3MOE
    groups = [("Linear", "pack-quantized", dict(num_bits=4, strategy="group", group_size=32, symmetric=False))]
    ignored = ["lm_head", "re:.*mlp\\.gate$"]

    def packs(self, name):
        return "_proj" in name

    def settings(self):
        own = super().settings()
        own["quantization_config"]["format"] = "pack-quantized"
        return own


class Qwen3MoeFp8(Fp8Blocks):
    source = QWEN3MOE

    def settings(self):
        own = super().settings()
        own["quantization_config"]["modules_to_not_convert"] = ["lm_head", "model.layers.0.mlp.gate", "model.layers.1.mlp.gate"]
        return own


class Qwen3Modelopt(Packer):
    source = QWEN3
    dtype = torch.bfloat16

    def algorithm_of(self, layer):
        return {"quant_algo": "FP8"} if ".layers.0." in layer else {"quant_algo": "NVFP4", "group_size": 16}

    def settings(self):
        from modelopt.torch.export.convert_hf_config import convert_hf_quant_config_format

        parts = [f"self_attn.{part}_proj" for part in "qkvo"] + [f"mlp.{part}_proj" for part in ("gate", "up", "down")]
        layers = [f"model.layers.{layer}.{part}" for layer in (0, 1) for part in parts if self.packs(f"model.layers.{layer}.{part}.weight")]
        own = {
            "exclude_modules": ["lm_head", "model.layers.1.self_attn.v_proj*"],
            "kv_cache_quant_algo": "FP8",
            "quant_algo": "MIXED_PRECISION",
            "quantized_layers": {layer: self.algorithm_of(layer) for layer in layers},
        }
        return {"quantization_config": convert_hf_quant_config_format({"producer": {"name": "modelopt"}, "quantization": own})}

    def packs(self, name):
        return super().packs(name) and "1.self_attn.v_proj" not in name

    def pack(self, name, weight):
        from modelopt.torch.export.quant_utils import to_quantized_weight
        from modelopt.torch.quantization.qtensor import FP8QTensor, NVFP4QTensor

        layer = name.removesuffix("weight")
        weight = weight.float()
        tensors = {layer + "input_scale": torch.tensor(0.02)}
        if ".layers.0." in name:
            scale = weight.abs().amax() / 448
            codes = to_quantized_weight(weight, scale, "fp8")
            decoded = FP8QTensor(weight.shape, torch.float32, codes).dequantize(torch.float32, scale=scale)
            return tensors | {name: codes, name + "_scale": scale}, decoded
        scale, factor = NVFP4QTensor.get_weights_scaling_factor(weight, 16)
        codes = to_quantized_weight(weight.clone(), scale, "nvfp4", factor, 16)
        tensors |= {name: codes, name + "_scale": scale, name + "_scale_2": factor}
        decoded = NVFP4QTensor(weight.shape, torch.float32, codes).dequantize(
            torch.float32, scale=scale, double_scale=factor, block_sizes={-1: 16}
        )
        return tensors, decoded.contiguous()


class Qwen3MoeMlx(Packer):
    source = QWEN3MOE
    own = {
        "mlp.gate": dict(group_size=64, bits=8),
        "switch_mlp.up_proj": dict(group_size=32, bits=4, mode="mxfp4"),
        "switch_mlp.down_proj": dict(group_size=16, bits=4, mode="nvfp4"),
    }

    def settings(self):
        return self.quantization

    def pack_model(self, source, weights):
        import mlx.core as mx
        from mlx.utils import tree_flatten
        from mlx_lm.utils import load_model, quantize_model

        def predicate(path, module):
            if not hasattr(module, "to_quantized"):
                return False
            return next((settings for end, settings in self.own.items() if path.endswith(end)), True)

        model, config = load_model(source)
        model.set_dtype(mx.float16)
        model, config = quantize_model(model, config, 32, 4, quant_predicate=predicate)
        self.quantization = {key: config[key] for key in ("quantization", "quantization_config")}
        tensors = dict(tree_flatten(model.parameters()))
        decoded = {}
        for name, weight in tensors.items():
            layer, is_weight = name.removesuffix(".weight"), name.endswith(".weight")
            if not is_weight:
                continue
            settings = {"mode": "affine"} | self.quantization["quantization"].get(layer, dict(group_size=32, bits=4))
            whole = weight
            if layer + ".scales" in tensors:
                parts = [tensors[layer + ".scales"]] + ([tensors[layer + ".biases"]] if layer + ".biases" in tensors else [])
                parts = [part.astype(mx.float32) if settings["mode"] == "affine" else part for part in parts]
                whole = mx.dequantize(weight, *parts, **settings, dtype=mx.float32)
            whole = torch.from_numpy(np.array(whole.astype(mx.float32)).copy())
            if ".switch_mlp." not in name:
                decoded[name] = whole
                continue
            for expert, matrix in enumerate(whole):
                decoded[re.sub("switch_mlp", f"experts.{expert}", name)] = matrix.contiguous()
        return {name: torch.from_numpy(np.array(tensor).copy()) for name, tensor in tensors.items()}, decoded
