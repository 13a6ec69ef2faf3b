# SPDX-License-Identifier: Apache-2.0
"""Logits and greedy continuations by transformers, with GPTQModel, compressed-tensors and bitsandbytes as the directory asks. See reading.py.

Products are those of f32 with the decoded weights: kernels that would round inputs, or decode to halves, are asked not to.
"""

import functools
import json
import pathlib

import torch
from reading import serve
from transformers import AutoModelForCausalLM, AwqConfig, CompressedTensorsConfig, GPTQConfig


def arguments(quantization):
    """Of from_pretrained, by the quantization_config of a directory."""
    method = quantization.get("quant_method")
    if method == "gptq":  # the other kernels are compiled when they are first used
        return {"quantization_config": GPTQConfig(bits=quantization["bits"], backend="torch"), "device_map": "cpu"}
    if method == "awq":
        return {"quantization_config": AwqConfig(bits=quantization["bits"], backend="torch_awq"), "device_map": "cpu"}
    if method == "compressed-tensors":
        return {"quantization_config": CompressedTensorsConfig(dequantize=True)}
    return {"device_map": "cpu"} if method else {}


def decode_compressed_tensors_in_f32():
    """The package decodes to the type of the scales, which may be halves in the file, and FP4 to bf16; f32 has the same values."""
    import compressed_tensors.compressors.nvfp4.base as fp4
    from transformers.integrations.compressed_tensors import CompressedTensorsDequantize

    fp4.unpack_fp4_from_uint8 = functools.partial(fp4.unpack_fp4_from_uint8, dtype=torch.float32)

    convert = CompressedTensorsDequantize.convert

    def widened(key, tensor):
        is_scale = key.endswith("weight_scale") and tensor.dtype in (torch.float16, torch.bfloat16)
        return tensor.float() if is_scale else tensor

    def convert_widened(self, input_dict, *rest, **named):
        wide = {key: [widened(key, v) for v in value] if isinstance(value, list) else widened(key, value) for key, value in input_dict.items()}
        return convert(self, wide, *rest, **named)

    CompressedTensorsDequantize.convert = convert_widened


def decode_in_f32(network, method):
    """GPTQModel decodes to the type of the scales, which are halves in the file, and its AWQ kernel to halves only; bitsandbytes to what
    the weights were."""
    if method == "gptq":
        for module in network.modules():
            for name in ("scales", "bias"):
                if hasattr(module, "qweight") and isinstance(getattr(module, name, None), torch.Tensor):
                    setattr(module, name, getattr(module, name).float())
    elif method == "awq":
        from gptqmodel.quantization.awq.utils.packing_utils import dequantize_gemm

        for name, module in list(network.named_modules()):
            if hasattr(module, "qweight"):
                linear = torch.nn.Linear(module.in_features, module.out_features, bias=module.bias is not None)
                weight = dequantize_gemm(module.qweight, module.qzeros, module.scales.float(), module.bits, module.group_size)
                linear.weight.data = weight.T.contiguous()
                if module.bias is not None:
                    linear.bias.data = module.bias.float()
                network.set_submodule(name, linear)
    elif method == "bitsandbytes":
        for weight in network.parameters():
            if getattr(weight, "quant_state", None) is not None:
                weight.quant_state.dtype = torch.float32
        network = network.dequantize().float()
    return network


class Model:
    def __init__(self, directory, dtype):
        quantization = json.loads((pathlib.Path(directory) / "config.json").read_text()).get("quantization_config", {})
        network, report = AutoModelForCausalLM.from_pretrained(
            directory, dtype=getattr(torch, dtype), attn_implementation="eager", output_loading_info=True, **arguments(quantization)
        )
        # transformers only warns, and goes on with random weights. What static grids of inputs are has no use in products of f32.
        report["unexpected_keys"] = [name for name in report["unexpected_keys"] if not name.endswith(".input_scale")]
        for kind, names in report.items():
            if names:
                raise RuntimeError(f"{kind}: {sorted(map(str, names))[:3]}")
        self.network = decode_in_f32(network, quantization.get("quant_method")).eval()
        self.network.generation_config.eos_token_id = None  # an end would end the comparison, too

    @torch.no_grad()
    def continuation(self, ids, count):
        prompt = torch.tensor([ids])
        made = self.network.generate(prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=count, do_sample=False, pad_token_id=0)
        return made[0, len(ids) :].tolist()

    @torch.no_grad()
    def logits(self, ids):
        return self.network(torch.tensor([ids])).logits[0].float().numpy()


if __name__ == "__main__":
    decode_compressed_tensors_in_f32()
    serve(Model)
