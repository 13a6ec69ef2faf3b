# SPDX-License-Identifier: Apache-2.0
"""Models: opened (Checkpoint), and loaded to run (Model)."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Union, overload

import numpy as np
import numpy.typing as npt

from . import _native
from ._chat import Answer, AnswerPiece, ChatMemory, Message, TemplateChoice, messages_json, template_options
from ._errors import InvalidArgumentError
from ._generation import Generation, SamplingOptions, sampling_options, streamed
from ._progress import Progress, ProgressFunction, reporting

if TYPE_CHECKING:
    from typing_extensions import Unpack

PathLike = Union[str, "os.PathLike[str]"]
TokenIds = Union[Sequence[int], "npt.NDArray[np.integer[Any]]"]


@dataclass(frozen=True)
class ModelInfo:
    """What a model says of itself; numbers are 0 and texts empty where it says nothing."""

    container: str  # "gguf", "huggingface", "safetensors"
    architecture: str
    parameters: int
    tensors: int
    bytes: int  # of all weight files
    bits_per_weight: float
    vocabulary: int
    hidden: int
    layers: int
    context: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int
    experts: int
    experts_used: int
    rope_base: float
    tied_head: bool
    tokenizer: str
    chat_template: str  # Jinja, as the file has it
    quantizer: str
    activations: str
    obstacle: str  # why it cannot be run; empty where it can


@dataclass(frozen=True)
class TensorInfo:
    name: str  # as the file spells it
    shape: tuple[int, ...]  # outermost first
    format: str
    elements: int
    bytes: int


def token_array(tokens: TokenIds) -> npt.NDArray[np.int32]:
    """Token ids as the extension takes them. TypeError for what are no whole numbers."""
    array = np.asarray(tokens)
    if array.size == 0:
        return np.zeros(0, np.int32)
    if array.ndim != 1 or not np.issubdtype(array.dtype, np.integer):
        raise TypeError(f"tokens are a list of whole numbers; given an array of {array.dtype} and shape {array.shape}")
    if array.min() < -(2**31) or array.max() >= 2**31:
        raise InvalidArgumentError("a token's id has 32 bits at most")
    return np.ascontiguousarray(array, dtype=np.int32)


def machine_options(threads: int, instruction_set: str | None) -> dict[str, object]:
    """The environment's NIBBLE_ISA decides where the caller does not, as on the command line."""
    chosen = instruction_set or os.environ.get("NIBBLE_ISA") or "best"
    return {"threads": threads, "instruction_set": chosen}


def listed(names: str | Iterable[str]) -> list[str]:
    """One name alone is a list of it, not of its letters."""
    return [names] if isinstance(names, str) else list(names)


def file_name(path: PathLike) -> str:
    """InvalidArgumentError for what can name no file."""
    name = os.fspath(path)
    if "\0" in name:
        raise InvalidArgumentError(f"a file's name has no zero in it: {name!r}")
    return name


class Tokenizer:
    """A model's own tokenizer. Safe to use from many threads."""

    def __init__(self, native: _native.Model) -> None:
        self._native = native

    def encode(self, text: str, *, add_special: bool = True, parse_special: bool = False) -> list[int]:
        """Token ids of a text.

        add_special: begin-of-text and end-of-text tokens as the tokenizer's settings say.
        parse_special: the text of control tokens ("<|im_start|>") is taken for these tokens.
        """
        return self._native.encode(text, add_special, parse_special)

    def decode(self, tokens: TokenIds, *, skip_special: bool = False) -> str:
        """The text of token ids; bytes that are no UTF-8 become U+FFFD."""
        return self._native.decode(token_array(tokens), skip_special)

    def piece(self, token: int) -> bytes:
        """One token's bytes as they are appended to running text; a character may be spread over several tokens."""
        return self._native.piece(token)

    def ends_generation(self, token: int) -> bool:
        return self._native.ends_generation(token)

    def apply_chat_template(
        self,
        messages: str | Sequence[Message],
        *,
        chat_template: TemplateChoice = "",
        tools: Sequence[Mapping[str, Any]] | None = None,
        documents: Sequence[Mapping[str, Any]] | None = None,
        variables: Mapping[str, Any] | None = None,
        add_generation_prompt: bool = True,
    ) -> str:
        """A conversation as the text that the model was trained on.

        messages: of "role" and "content", mostly; a text alone is what the user says.
        chat_template: a template's name, or a file that holds one; "": the model's own.
        variables: what else the template asks for: {"enable_thinking": False}.
        The text is encoded by encode(text, add_special=False, parse_special=True): templates write the tokens around it.
        """
        options = template_options(chat_template, tools, documents, variables, add_generation_prompt)
        return self._native.apply_chat_template(messages_json(messages), options)


class Checkpoint:
    """A model on disk, opened: mapped and judged, no weight is read yet. Safe to use from many threads."""

    def __init__(self, native: _native.Model) -> None:
        self._native = native

    @property
    def path(self) -> Path:
        return Path(self._native.path)

    @property
    def info(self) -> ModelInfo:
        return ModelInfo(**self._native.info())

    @property
    def tokenizer(self) -> Tokenizer:
        return Tokenizer(self._native)

    def tensors(self) -> list[TensorInfo]:
        return [TensorInfo(**one) for one in self._native.list_tensors()]

    def read_tensor(self, name: str) -> npt.NDArray[np.float32]:
        """A tensor's values in f32, in its own shape, whatever format it is stored in."""
        shapes = [one.shape for one in self.tensors() if one.name == name]
        values: npt.NDArray[np.float32] = self._native.read_tensor(name)
        return values.reshape(shapes[0]) if shapes else values

    def __repr__(self) -> str:
        info = self.info
        name = info.architecture or info.container
        return f"<nibble.Checkpoint {name}, {info.parameters:,} parameters, {info.bits_per_weight:.2f} bits: {self.path}>"


class Model:
    """A model in memory, ready to run; made by nibble.load(). Safe to use from many threads, which take turns by steps."""

    def __init__(self, native: _native.LoadedModel) -> None:
        self._native = native
        self._source = Checkpoint(native.model)
        self._memory = ChatMemory(native)

    @property
    def source(self) -> Checkpoint:
        """The file or directory that it was loaded from."""
        return self._source

    @property
    def info(self) -> ModelInfo:
        return self._source.info

    @property
    def tokenizer(self) -> Tokenizer:
        return self._source.tokenizer

    @property
    def vocabulary(self) -> int:
        """Logits for one token."""
        return self._native.vocabulary

    @property
    def context(self) -> int:
        """The longest sequence that the model was made for, in tokens."""
        return self._native.context

    @property
    def resident_bytes(self) -> int:
        """Of the weights in memory."""
        return self._native.resident_bytes

    @property
    def instruction_set(self) -> str:
        """Whose kernels run: "scalar"; of x86 "avx2", "avxvnni", "avx512"; of aarch64 "neon", "neon_dot", "neon_i8mm"."""
        return self._native.instruction_set

    def logits(
        self, tokens: str | TokenIds, *, last: bool = False, progress: Progress = False
    ) -> npt.NDArray[np.float32]:
        """What the model says follows each token: [tokens, vocabulary], or of the last one alone [vocabulary].

        tokens: ids, or a text, which the model's tokenizer reads. They are a sequence of their own, from its beginning.
        """
        ids = token_array(self.tokenizer.encode(tokens) if isinstance(tokens, str) else tokens)
        with reporting(progress) as report:
            made: npt.NDArray[np.float32] = self._native.logits(ids, last, report)
        return made[0] if last else made

    @overload
    def generate(
        self,
        prompt: str | TokenIds,
        max_tokens: int = ...,
        temperature: float = ...,
        top_p: float = ...,
        seed: int = ...,
        stop: str | Sequence[str] = ...,
        stream: Literal[False] = ...,
        *,
        parse_special: bool = ...,
        progress: Progress = ...,
        **more: Unpack[SamplingOptions],
    ) -> Generation: ...

    @overload
    def generate(
        self,
        prompt: str | TokenIds,
        max_tokens: int = ...,
        temperature: float = ...,
        top_p: float = ...,
        seed: int = ...,
        stop: str | Sequence[str] = ...,
        *,
        stream: Literal[True],
        parse_special: bool = ...,
        progress: Progress = ...,
        **more: Unpack[SamplingOptions],
    ) -> Iterator[str]: ...

    def generate(
        self,
        prompt: str | TokenIds,
        max_tokens: int = 128,
        temperature: float = 0.0,
        top_p: float = 0.95,
        seed: int = 0,
        stop: str | Sequence[str] = (),
        stream: bool = False,
        *,
        parse_special: bool = True,
        progress: Progress = False,
        **more: Unpack[SamplingOptions],
    ) -> Generation | Iterator[str]:
        """Continues a text; the same text for any number of threads, and that of the command line.

        prompt: a text, or token ids. parse_special: in a text, the text of control tokens is taken for these tokens.
        temperature: 0 takes the most probable token each time. top_p, top_k, min_p: which tokens are drawn from otherwise.
        stop: texts that end it; neither they nor what follows is given out.
        stream: gives the text piece by piece, whole characters each, as it is made; leaving the loop stops the model.
        more: see SamplingOptions.
        """
        if isinstance(prompt, str):
            prompt = self.tokenizer.encode(prompt, parse_special=parse_special)
        ids = token_array(prompt)
        options = sampling_options(max_tokens, temperature, top_p, seed, stop, more)
        if stream:
            return streamed(lambda tell, report: _native.generate(self._native, ids, options, tell, report), progress)
        with reporting(progress) as report:
            return Generation(**_native.generate(self._native, ids, options, None, report))

    @overload
    def chat(
        self,
        messages: str | Sequence[Message],
        max_tokens: int | None = ...,
        temperature: float = ...,
        top_p: float = ...,
        seed: int = ...,
        stop: str | Sequence[str] = ...,
        stream: Literal[False] = ...,
        *,
        chat_template: TemplateChoice = ...,
        tools: Sequence[Mapping[str, Any]] | None = ...,
        documents: Sequence[Mapping[str, Any]] | None = ...,
        variables: Mapping[str, Any] | None = ...,
        progress: Progress = ...,
        **more: Unpack[SamplingOptions],
    ) -> Answer: ...

    @overload
    def chat(
        self,
        messages: str | Sequence[Message],
        max_tokens: int | None = ...,
        temperature: float = ...,
        top_p: float = ...,
        seed: int = ...,
        stop: str | Sequence[str] = ...,
        *,
        stream: Literal[True],
        chat_template: TemplateChoice = ...,
        tools: Sequence[Mapping[str, Any]] | None = ...,
        documents: Sequence[Mapping[str, Any]] | None = ...,
        variables: Mapping[str, Any] | None = ...,
        progress: Progress = ...,
        **more: Unpack[SamplingOptions],
    ) -> Iterator[AnswerPiece]: ...

    def chat(
        self,
        messages: str | Sequence[Message],
        max_tokens: int | None = None,
        temperature: float = 0.0,
        top_p: float = 0.95,
        seed: int = 0,
        stop: str | Sequence[str] = (),
        stream: bool = False,
        *,
        chat_template: TemplateChoice = "",
        tools: Sequence[Mapping[str, Any]] | None = None,
        documents: Sequence[Mapping[str, Any]] | None = None,
        variables: Mapping[str, Any] | None = None,
        progress: Progress = False,
        **more: Unpack[SamplingOptions],
    ) -> Answer | Iterator[AnswerPiece]:
        """The model's answer to a conversation; it needs a chat template, its own or the file that chat_template names.

        messages, chat_template, tools, documents, variables: as Tokenizer.apply_chat_template has them.
        max_tokens: None: as many as the context has room for. context (of more): most tokens of a conversation and its
        answer; by default the model's own, at most 32,768.
        What two conversations have in common at their beginnings is not read twice; the answers are the same without.
        """
        text = messages_json(messages)
        rendering = template_options(chat_template, tools, documents, variables, True)
        context, choice = more.get("context", 0), os.fspath(chat_template)
        room = self.context if max_tokens is None else max_tokens
        options = sampling_options(room, temperature, top_p, seed, stop, more)
        if stream:

            def make(tell: Callable[[AnswerPiece], bool], report: ProgressFunction) -> None:
                with self._memory.lend(context, choice) as chat:
                    chat.answer(text, rendering, options, lambda thought, new: tell(AnswerPiece(new, thought)), report)

            return _with_text(streamed(make, progress))
        with reporting(progress) as report, self._memory.lend(context, choice) as chat:
            return Answer(**chat.answer(text, rendering, options, None, report))

    def __repr__(self) -> str:
        return f"<nibble.Model of {self._source!r}>"


def _with_text(pieces: Generator[AnswerPiece, None, None]) -> Iterator[AnswerPiece]:
    with closing(pieces):
        yield from (piece for piece in pieces if piece.text)


def open_model(path: PathLike) -> Checkpoint:
    """Opens a Hugging Face directory, a safetensors file or a GGUF file, and reads no weight of it."""
    return Checkpoint(_native.open_model(file_name(path)))


def checkpoint_of(model: PathLike | Checkpoint | Model) -> Checkpoint:
    if isinstance(model, Model):
        return model.source
    return model if isinstance(model, Checkpoint) else open_model(model)


def load(
    model: PathLike | Checkpoint,
    *,
    threads: int = 0,
    instruction_set: str | None = None,
    activations: str = "automatic",
    activation_format: str = "",
    keys_values: str = "automatic",
    progress: Progress = None,
) -> Model:
    """Reads every weight once and repacks it for this processor; the files are not needed afterwards.

    threads: 0 takes as many processors as this process may use.
    instruction_set: "scalar", "avx2", "avxvnni", "avx512", "neon", "neon_dot", "neon_i8mm"; None: NIBBLE_ISA of the environment, else the best that there is.
    activations: how inputs enter products: "f32", "bf16", "int8"; automatic: as the file says, else int8 where weights are quantized.
    activation_format: of int8, as formats are spelled: "a8:g32:wide".
    keys_values: how they are kept: "f32", "f16", "q8_0", "q4_0", "q8_0:rotated", "q4_0:rotated" (values, too, by a Hadamard transform); automatic: q8_0 where weights are quantized, else f16.
    """
    source = checkpoint_of(model)
    options = machine_options(threads, instruction_set)
    options |= {"activations": activations, "activation_format": activation_format, "keys_values": keys_values}
    with reporting(progress) as report:
        return Model(_native.load(source._native, options, report))
