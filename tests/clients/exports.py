# SPDX-License-Identifier: Apache-2.0
"""Which exports are handed to which foreign runtimes, and how near these must come: the data of agree.py."""

import dataclasses

# The bundled model, and of tests/peer/random_models.py: biases of queries; norms of heads; experts; capped scores and tied embeddings.
BUNDLED = "tale-4M"
RANDOM = ["qwen2", "qwen3", "qwen3moe", "gemma2"]
# Of those, families without experts: windows, positions that turn part of a head or by neighbours, norms behind layers, too.
GRAPHS = ["qwen2", "qwen3", "gemma2", "gemma3", "mistral", "mistral3", "phi3-short", "glm4"]


def models_for(client):
    if client == "ort":
        return [BUNDLED, *GRAPHS, "qwen3moe"]
    return [BUNDLED, *(GRAPHS if client == "openvino" else RANDOM)]


# What a runtime knows nothing of: mlx-lm 0.32 has no windows for Gemma 2. Longer prompts need more positions.
CHANGES = {("mlx", "gemma2"): {"sliding_window": 256}} | {("vllm", name): {"max_position_embeddings": 512} for name in RANDOM}
# Tokens of a prompt and of its continuation; vLLM leads by enough in fewer positions. The bundled model has 512.
PROMPT, NEW = 200, 24
PROMPTS = {"vllm": 480}


@dataclasses.dataclass(frozen=True)
class Reading:
    """How a runtime reads an export. Logits may differ by `largest`; where the runtime leads by that it must choose as we do."""

    largest: float = 3e-4  # f32 products of decoded weights
    divergence: float = 1e-9  # mean KL(theirs || ours)
    arithmetic: str = "exact"  # ours: exact, or inputs as the directory says
    first: float = 0.0  # of logits of the first position, where it must be nearer than `largest`
    lead: float = 0.0  # of the runtime, where it must choose as we do; 0: `largest`
    leads: int = 200  # positions at least where it leads so
    dtype: str = "float32"  # what the runtime computes in
    inputs: dict | None = None  # of Linears, which config.json is made to say, where the runtime has no kernel without
    not_read: dict = dataclasses.field(default_factory=dict)  # model -> why the runtime cannot have it
    otherwise: dict = dataclasses.field(default_factory=dict)  # model -> the Reading of this one

    def of(self, model):
        return self.otherwise.get(model, self)


@dataclasses.dataclass(frozen=True)
class Export:
    container: str
    format: str
    readers: dict  # client -> Reading, or why it does not read this
    options: tuple = ()  # of nibble quantize

    @property
    def name(self):
        return " ".join([self.container, self.format, *self.options])


NO_EXPERTS = {"qwen3moe": "transformers 5.24 takes no experts that are packed so"}
NO_EXPERT_KERNELS = {"qwen3moe": "vLLM 0.32 has no CPU kernels of experts that are quantized"}
NO_EXPERT_SCALES = {"qwen3moe": "transformers 5.24 leaves out what scales a whole expert"}
NO_QMOE = {"qwen3moe": "ONNX Runtime's QMoE is exact with 4 bits alone, and no standard operator has experts"}
F32 = Reading()
DENSE = Reading(not_read=NO_QMOE)
HF = Reading(not_read=NO_EXPERTS)
# vLLM's 4-bit kernels for CPUs take halves only, which of models that are not quantized make as much; its Gemma 2 takes bf16 only.
BRAIN_HALVES = Reading(largest=0.2, divergence=3e-4, dtype="bfloat16")
HALVES = Reading(largest=0.08, divergence=3e-5, lead=0.06, dtype="float16", not_read=NO_EXPERT_KERNELS, otherwise={"gemma2": BRAIN_HALVES})
# Inputs rounded to 8 bits as the directory says: one beside a border of its grid goes to another side, and what follows differs by as much as
# the same arithmetic does between f32 and f64 (0.29 and 5e-5 for the bundled model). Before the first such, all is as near as in f32.
INT8_INPUTS = Reading(largest=0.8, divergence=1e-3, arithmetic="inputs", first=3e-4, lead=0.2, not_read=NO_EXPERT_KERNELS)
# Inputs in FP8, which ours are not: it has no CPU kernel of FP8 with others. (Rounded so, too, f64 has half of qwen2's positions within 5e-6.)
FP8_TOKENS = {"num_bits": 8, "type": "float", "symmetric": True, "strategy": "token", "dynamic": True}
FP8_INPUTS = Reading(largest=2.0, divergence=0.05, lead=1.0, leads=20, not_read=NO_EXPERT_KERNELS, inputs=FP8_TOKENS)
GPU = Reading(largest=0.06, divergence=3e-5, dtype="float16", otherwise={"gemma2": BRAIN_HALVES})
ORT_HALVES = Reading(largest=0.06, divergence=3e-5, leads=190, not_read={"mistral3": "queries that grow with their positions are lost in f16"})
# Inputs rounded to 8 bits, which ours are not.
ORT_INT8 = Reading(largest=0.7, divergence=5e-3, leads=40, not_read={"qwen3moe": "inputs in 8 bits send tokens to other experts than ours"})
OPENVINO = Reading(not_read={"gemma2": "OpenVINO 2026.4 does not convert a GroupQueryAttention with soft caps"})
EXACT_INPUTS = ("--onnx-accuracy", "0")
STATIC = ("--text", "tests/data/tale-4M/calibration.txt", "--samples", "4", "--length", "128")

EXPORTS = [
    Export("nibble", "f32", {"mlx": F32, "hf": F32, "vllm": F32, "vllm-gpu": GPU}),  # what a runtime's own arithmetic does
    Export("gptq", "int4:g128", {"hf": HF, "vllm": HALVES, "vllm-gpu": GPU}),
    Export("gptq_v2", "int4:g128:asym", {"hf": HF, "vllm": "vLLM's CPU kernels take symmetric codes only", "vllm-gpu": GPU}),
    Export("gptq", "int8:g128", {"hf": HF, "vllm": "vLLM's CPU kernels take 4 bits only", "vllm-gpu": GPU}),
    Export("gptq_v2", "int2:g64:asym", {"hf": HF, "vllm": "vLLM's CPU kernels take 4 bits only"}),
    Export("awq", "int4:g128:asym", {"hf": HF, "vllm": HALVES, "vllm-gpu": GPU}),
    Export("compressed-tensors", "int4:g128", {"hf": F32, "vllm": HALVES, "vllm-gpu": GPU}),
    Export("compressed-tensors", "int4:g128:asym", {"hf": HF, "vllm": HALVES, "vllm-gpu": GPU}),
    Export("compressed-tensors", "int8:g128", {"hf": F32, "vllm": "vLLM's CPU kernels take 4 bits only", "vllm-gpu": GPU}),
    Export("compressed-tensors", "int8:row+a8:token", {"hf": HF, "vllm": INT8_INPUTS, "vllm-gpu": INT8_INPUTS}),
    Export("compressed-tensors", "int8:row+a8:static", {"hf": HF, "vllm": INT8_INPUTS}, STATIC),
    Export("compressed-tensors", "fp8:row", {"hf": F32, "vllm": FP8_INPUTS, "vllm-gpu": FP8_INPUTS}),
    Export("compressed-tensors", "fp8:block128x128", {"hf": HF, "vllm": "vLLM's CPU kernels of blocks need AMX", "vllm-gpu": FP8_INPUTS}),
    Export("compressed-tensors", "nvfp4", {"hf": Reading(not_read=NO_EXPERT_SCALES), "vllm": "vLLM has no CPU kernels of FP4", "vllm-gpu": GPU}),
    Export("compressed-tensors", "mxfp4", {"hf": F32, "vllm": "vLLM has no CPU kernels of FP4", "vllm-gpu": GPU}),
    Export("bitsandbytes", "nf4:g64:f32", {"hf": HF, "vllm": "vLLM has no CPU kernels of bitsandbytes"}),
    Export("bitsandbytes", "nf4:g64:dq", {"hf": HF, "vllm": "vLLM has no CPU kernels of bitsandbytes"}),
    Export("bitsandbytes", "fp4:g64:f32", {"hf": HF, "vllm": "vLLM has no CPU kernels of bitsandbytes"}),
    Export("bitsandbytes", "int8:row", {"hf": HF, "vllm": "vLLM has no CPU kernels of bitsandbytes"}),
    *(Export("mlx", f"int{bits}:g64:bias", {"mlx": F32}) for bits in (2, 3, 4, 5, 6, 8)),
    Export("mlx", "int4:g32:bias", {"mlx": F32}),
    Export("mlx", "int4:g128:bias", {"mlx": F32}),
    Export("mlx", "mxfp4", {"mlx": F32}),
    Export("mlx", "fp8:g32:e8m0", {"mlx": F32}),
    Export("mlx", "nvfp4", {"mlx": F32}),
    *(Export("onnx-genai", name, {"ort": F32, "openvino": OPENVINO}, EXACT_INPUTS) for name in ("int4:g32", "int4:g128:asym")),
    *(Export("onnx-genai", name, {"ort": DENSE, "openvino": OPENVINO}, EXACT_INPUTS) for name in ("f32", "int8:g32:asym", "int8:row")),
    Export("onnx-genai", "int2:g64", {"ort": DENSE}, EXACT_INPUTS),
    Export("onnx-genai", "int4:g32", {"ort": F32, "openvino": "OpenVINO 2026.4 has no GatherBlockQuantized"}, (*EXACT_INPUTS, "--embedding", "int8:g32")),
    Export("onnx-genai", "int4:g32", {"ort": ORT_HALVES}, (*EXACT_INPUTS, "--onnx-type", "f16")),
    Export("onnx-genai", "int4:g32", {"ort": ORT_INT8, "openvino": OPENVINO}),
    Export("onnx-genai", "int4:g32", {"onnx-cuda": GPU}, ("--onnx-type", "f16")),
    *(Export("onnx", name, {"ort": DENSE, "openvino": F32}) for name in ("int4:g32", "int4:g128:asym", "int8:row")),
    Export("onnx", "int4:g32", {"tensorrt": GPU}, ("--for", "tensorrt")),
    Export("onnx", "int8:row", {"tensorrt": GPU}, ("--for", "tensorrt")),
]

# Of directories that --directory names, whatever is in them.
AS_GIVEN = {"mlx": F32, "hf": F32, "vllm": HALVES, "vllm-gpu": GPU, "onnx-cuda": GPU, "tensorrt": GPU, "ort": F32, "openvino": F32}
