# SPDX-License-Identifier: Apache-2.0
"""nibble's models in lm-evaluation-harness, under the name "nibble":

    import nibble.lm_eval
    lm_eval.simple_evaluate(model="nibble", model_args={"pretrained": "small.gguf"}, tasks=["piqa"])
"""

from __future__ import annotations

from typing import Any, Union

import numpy as np
from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM
from lm_eval.api.registry import register_model
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from ._models import Checkpoint, Model, PathLike, load

# The harness' own, where a task does not say.
_NEW_TOKENS = 256


@register_model("nibble")
class NibbleLM(TemplateLM):
    """Scores and continues texts as the harness' own class for transformers does: the same tokens, windows and cuts."""

    def __init__(
        self,
        pretrained: Union[PathLike, Checkpoint, Model],
        *,
        max_length: Union[int, None] = None,
        batch_size: Union[int, str] = 1,  # the harness gives one; requests are scored one after the other
        max_batch_size: Union[int, None] = None,
        device: Union[str, None] = None,
        **options: Any,
    ) -> None:
        super().__init__()
        self.model = pretrained if isinstance(pretrained, Model) else load(pretrained, **options)
        self._max_length = min(int(max_length or self.model.context), self.model.context)
        texts = self.model.tokenizer
        self._end = next((token for token in range(self.model.vocabulary) if texts.ends_generation(token)), 0)
        begun = texts.encode("")
        self._begin = begun[0] if begun else self._end

    @property
    def max_length(self) -> int:
        return self._max_length

    @property
    def eot_token_id(self) -> int:
        return self._end

    @property
    def prefix_token_id(self) -> int:
        return self._begin

    @property
    def tokenizer_name(self) -> str:
        return str(self.model.source.path).replace("/", "__")

    def chat_template(self, chat_template: Union[bool, str] = False) -> Union[str, None]:
        return self.model.info.chat_template if chat_template else None

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        return self.model.tokenizer.apply_chat_template(chat_history, add_generation_prompt=add_generation_prompt)

    def tok_encode(self, string: str, add_special_tokens: Union[bool, None] = None, **kwargs: Any) -> list[int]:
        begin = self.model.tokenizer.decode([self._begin])
        special = add_special_tokens if add_special_tokens is not None else not (begin and string.startswith(begin))
        return self.model.tokenizer.encode(string, add_special=special, parse_special=True)

    def _loglikelihood_tokens(
        self, requests: list[tuple[Any, list[int], list[int]]], disable_tqdm: bool = False, **kwargs: Any
    ) -> list[tuple[float, bool]]:
        scores = []
        for pair, context, continuation in requests:
            tokens = (context + continuation)[-(self._max_length + 1) :][:-1]
            logits = self.model.logits(tokens)[-len(continuation) :].astype(np.float64)
            top = logits.max(axis=1)
            log_sums = np.log(np.exp(logits - top[:, None]).sum(axis=1)) + top
            wanted = np.asarray(continuation[-len(logits) :])
            total = float((logits[np.arange(len(wanted)), wanted] - log_sums).sum())
            scores.append((total, bool((logits.argmax(axis=1) == wanted).all())))
            if pair is not None:
                self.cache_hook.add_partial("loglikelihood", pair, scores[-1])
        return scores

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = False) -> list[float]:
        totals = []
        for request in requests:
            (text,) = request.args
            windows = get_rolling_token_windows(
                token_list=self.tok_encode(text), prefix_token=self._begin, max_seq_len=self._max_length, context_len=1
            )
            parts = self._loglikelihood_tokens([(None, *make_disjoint_window(window)) for window in windows])
            totals.append(sum(score for score, _ in parts))
            self.cache_hook.add_partial("loglikelihood_rolling", (text,), totals[-1])
        return totals

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        texts = []
        for request in requests:
            context, given = request.args
            until = given.get("until") or []
            room = int(given.get("max_gen_toks", _NEW_TOKENS))
            draws = bool(given.get("do_sample", given.get("temperature", 0)))
            prompt = self.tok_encode(context)[-(self._max_length - room) :]
            made = self.model.generate(
                prompt,
                max_tokens=room,
                temperature=float(given.get("temperature", 1.0)) if draws else 0.0,
                top_p=float(given.get("top_p", 1.0)),
                top_k=int(given.get("top_k", 0)),
                min_p=0.0,
                stop=[until] if isinstance(until, str) else list(until),
            )
            texts.append(made.text)
            self.cache_hook.add_partial("generate_until", request.args, made.text)
        return texts
