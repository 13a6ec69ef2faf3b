# SPDX-License-Identifier: Apache-2.0
"""Logits and greedy continuations by vLLM with its own kernels, of the CPU or, where there is one, of the GPU. See reading.py."""

import gc
import os

# Before the import: one process, so that logits can be had from the network; threads wherever they run.
os.environ.update(VLLM_ENABLE_V1_MULTIPROCESSING="0", VLLM_CPU_KVCACHE_SPACE="1", VLLM_CPU_OMP_THREADS_BIND="nobind", HF_HUB_OFFLINE="1")

import numpy
import torch
from reading import serve
from vllm import LLM, SamplingParams
from vllm.distributed.parallel_state import cleanup_dist_env_and_memory

POSITIONS = 512


class Model:
    def __init__(self, directory, dtype):
        gc.collect()
        cleanup_dist_env_and_memory()  # the model before, and its groups: one with experts needs others
        self.llm = LLM(
            directory,
            dtype=dtype,
            max_model_len=POSITIONS,
            max_num_batched_tokens=POSITIONS,
            max_num_seqs=2,
            num_gpu_blocks_override=64,  # of the cache, which it keeps for every model of a process, and a gigabyte by itself
            enforce_eager=True,
            enable_prefix_caching=False,
            skip_tokenizer_init=True,
            gpu_memory_utilization=0.3,
        )
        self.seen = []
        self.llm.apply_model(self.watch)

    def watch(self, network):
        compute = network.compute_logits

        def watched(hidden_states, *rest, **named):
            logits = compute(hidden_states, *rest, **named)
            self.seen.append(logits.detach().float().cpu().clone())
            return logits

        network.compute_logits = watched

    def ask(self, ids, **options):
        self.seen.clear()
        settings = SamplingParams(temperature=0, ignore_eos=True, detokenize=False, **options)
        return self.llm.generate([{"prompt_token_ids": ids}], settings, use_tqdm=False)[0].outputs[0].token_ids

    def continuation(self, ids, count):
        return list(self.ask(ids, max_tokens=count))

    def logits(self, ids):
        """vLLM makes logits of all positions of a prompt but the last when their probabilities are asked for, and of the last to go on."""
        self.ask(ids, max_tokens=1, prompt_logprobs=0)
        prompt = next(logits for logits in self.seen if logits.shape[0] == len(ids) - 1)
        last = next(logits for logits in self.seen if logits.shape[0] == 1)
        return torch.cat([prompt, last]).numpy().astype(numpy.float32)


if __name__ == "__main__":
    serve(Model)
