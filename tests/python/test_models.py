# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import ctypes
import math
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Callable

import numpy as np
import pytest

import nibble
from conftest import MODEL

Command = Callable[..., Any]


@pytest.mark.parametrize("sampling", [{}, {"temperature": 0.8, "seed": 7}, {"temperature": 1.5, "seed": 3, "top_p": 0.7}])
def test_text_is_that_of_the_command_line(model: nibble.Model, command: Command, sampling: dict[str, Any]) -> None:
    options = [word for name, value in sampling.items() for word in ("--" + name.replace("_", "-"), str(value))]
    expected = command("run", MODEL, "-p", "Once upon a time", "-n", "40", *options)
    made = model.generate("Once upon a time", max_tokens=40, **sampling)
    assert made.text == expected["text"]
    assert len(made.tokens) == expected["generated_tokens"]
    assert made.prompt_tokens == expected["prompt_tokens"]


def test_a_stop_text_ends_it(model: nibble.Model, command: Command) -> None:
    expected = command("run", MODEL, "-p", "Once upon a time", "-n", "80", "--stop", " Tom")
    made = model.generate("Once upon a time", max_tokens=80, stop=" Tom")
    assert (made.text, made.stop_reason) == (expected["text"], "stop_text")
    assert " Tom" not in made.text


def test_streamed_text_is_the_same(model: nibble.Model) -> None:
    whole = model.generate("The dog", max_tokens=50, temperature=0.9, seed=1)
    pieces = list(model.generate("The dog", max_tokens=50, temperature=0.9, seed=1, stream=True))
    assert "".join(pieces) == whole.text
    assert len(pieces) > 10


def test_leaving_a_stream_stops_the_model(model: nibble.Model) -> None:
    for _ in model.generate("The dog", max_tokens=100_000, ignore_end=True, stream=True):
        break
    assert not [thread for thread in threading.enumerate() if thread.name == "nibble-stream"]


def test_a_stream_that_is_dropped_or_closed_stops(model: nibble.Model) -> None:
    for end in ("close", "drop"):
        pieces = model.generate("The dog", max_tokens=100_000, ignore_end=True, stream=True)
        next(pieces)
        assert [thread for thread in threading.enumerate() if thread.name == "nibble-stream"]
        if end == "close":
            pieces.close()  # type: ignore[attr-defined]
        del pieces
        assert not [thread for thread in threading.enumerate() if thread.name == "nibble-stream"]


def test_a_model_waits_for_the_reader_of_its_stream(model: nibble.Model) -> None:
    """What nobody reads is not made without end, and keeps nobody else from the model."""
    from nibble._generation import streamed

    told = 0

    def make(tell: Callable[[int], bool], report: object) -> None:
        nonlocal told
        while tell(told):
            told += 1

    pieces = streamed(make)
    assert next(pieces) == 0
    time.sleep(0.3)
    assert told < 200
    assert [next(pieces) for _ in range(300)] == list(range(1, 301))
    pieces.close()
    text = model.generate("The dog", max_tokens=200, ignore_end=True, stream=True)
    first = next(text)
    whole = model.generate("The dog", max_tokens=200, ignore_end=True).text
    assert first + "".join(text) == whole


def test_a_stream_left_open_keeps_no_script_from_its_end() -> None:
    code = f"""
import nibble
model = nibble.load({str(MODEL)!r})
pieces = model.generate("The dog", max_tokens=10**9, ignore_end=True, stream=True)
print(bool(next(pieces)))
"""
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (made.returncode, made.stdout, made.stderr) == (0, "True\n", "")


def test_progress_of_a_stream_is_told(model: nibble.Model) -> None:
    told: list[str] = []
    list(model.generate("The dog", max_tokens=3, stream=True, progress=lambda stage, *more: told.append(stage)))
    assert told
    with pytest.raises(ZeroDivisionError):
        list(model.generate("The dog", max_tokens=3, stream=True, progress=lambda *report: 1 // 0))
    with pytest.raises(nibble.Cancelled):
        list(model.generate("The dog", max_tokens=3, stream=True, progress=lambda *report: False))


def test_errors_come_out_of_a_stream(model: nibble.Model) -> None:
    with pytest.raises(nibble.InvalidArgumentError, match="top-p"):
        list(model.generate("The dog", top_p=3.0, stream=True))


def test_tokens_are_those_of_the_command_line(model: nibble.Model, command: Command) -> None:
    text = "Zoë said: 你好, 3 × 4 = 12!\n"
    assert model.tokenizer.encode(text) == command("tokenize", MODEL, text)["ids"]
    assert model.tokenizer.decode(model.tokenizer.encode(text), skip_special=True) == text
    assert b"".join(map(model.tokenizer.piece, model.tokenizer.encode(text, add_special=False))) == text.encode()


def test_logits_predict_what_the_command_line_measures(command: Command, tmp_path: Path) -> None:
    """Perplexity by the papers' protocol, from our logits in NumPy, against `nibble eval`."""
    text = tmp_path / "text.txt"
    text.write_text((MODEL / "heldout.txt").read_text()[:6000])
    model = nibble.load(MODEL, activations="f32", keys_values="f32")
    window = 256
    verdict = command("eval", MODEL, "--text", text, "--protocol", "paper", "--context", window, "--activations", "f32", "--kv", "f32")
    ids = model.tokenizer.encode(text.read_text())
    losses: list[float] = []
    for begin in range(0, len(ids) // window * window, window):
        part = np.asarray(ids[begin : begin + window])
        logits = model.logits(part).astype(np.float64)
        assert logits.shape == (window, model.vocabulary)
        log_sums = np.log(np.exp(logits - logits.max(1, keepdims=True)).sum(1)) + logits.max(1)
        losses += list((log_sums - logits[np.arange(window), np.roll(part, -1)])[:-1])
    # The means of at least 500 numbers, summed in another order.
    assert len(losses) > 500
    assert math.isclose(math.exp(np.mean(losses)), verdict["perplexity"], rel_tol=1e-6)


def test_the_last_logits_are_those_of_the_whole(model: nibble.Model) -> None:
    assert np.array_equal(model.logits("Once upon", last=True), model.logits("Once upon")[-1])


def test_logits_are_refused_where_they_have_no_room(model: nibble.Model) -> None:
    assert model.logits([5] * model.context, last=True).shape == (model.vocabulary,)
    with pytest.raises(nibble.UnusableInputError, match="no room in the context"):
        model.logits([5] * (model.context + 1))
    with pytest.raises(nibble.UnusableInputError, match="no tokens"):
        model.logits([])


def test_surrogates_are_no_utf_8(model: nibble.Model) -> None:
    encode = model.tokenizer.encode
    assert encode("a \ud800 b") == encode("a \ufffd\ufffd\ufffd b")  # three bytes, none of which begins a character
    assert encode("a \udcff b") == encode("a \ufffd b")


def test_a_checkpoint_tells_what_is_in_it(command: Command) -> None:
    checkpoint = nibble.open_model(MODEL)
    listed = command("inspect", MODEL)
    assert checkpoint.info.parameters == listed["parameters"]
    assert [one.name for one in checkpoint.tensors()] == [one["name"] for one in listed["tensors"]]
    embedding = checkpoint.read_tensor("model.embed_tokens.weight")
    assert embedding.shape == (checkpoint.info.vocabulary, checkpoint.info.hidden)
    assert embedding.dtype == np.float32 and np.isfinite(embedding).all()


def test_errors_are_pythons_too(model: nibble.Model) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere.gguf") as missing:
        nibble.load("nowhere.gguf")
    assert isinstance(missing.value, nibble.Error) and missing.value.kind == "not_found"
    with pytest.raises(ValueError, match="outside the vocabulary"):
        model.logits([10**6])
    with pytest.raises(nibble.InvalidArgumentError, match="f16"):
        nibble.load(MODEL, keys_values="f7")
    with pytest.raises(TypeError, match="top_k"):
        model.generate("x", topk=3)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="whole numbers"):
        model.logits([1.5])  # type: ignore[list-item]


def test_progress_is_told_and_may_stop_it() -> None:
    told: list[tuple[str, int, int]] = []
    nibble.load(MODEL, progress=lambda stage, item, done, total: told.append((stage, done, total)))
    assert told[-1][0] == "load" and told[-1][1] == told[-1][2]
    with pytest.raises(nibble.Cancelled):
        nibble.load(MODEL, progress=lambda *report: False)
    with pytest.raises(ZeroDivisionError):
        nibble.load(MODEL, progress=lambda *report: 1 // 0)


def test_threads_take_turns(model: nibble.Model) -> None:
    prompts = ["Once upon a time", "The dog", "A small parrot", "Rain"]
    alone = [model.generate(prompt, max_tokens=20).text for prompt in prompts]
    together: dict[str, str] = {}
    threads = [
        threading.Thread(target=lambda p=prompt: together.update({p: model.generate(p, max_tokens=20).text}))
        for prompt in prompts
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [together[prompt] for prompt in prompts] == alone


def runs_beside(call: Callable[[], object]) -> bool:
    """Whether another thread gets on while calls last, and not only between them."""
    counted = 0
    done = threading.Event()

    def count() -> None:
        nonlocal counted
        while not done.is_set():
            counted += 1
            time.sleep(0.0001)  # several times within the shortest of the calls

    thread = threading.Thread(target=count)
    thread.start()
    meanwhile, calls = 0, 0
    while calls < 50 and meanwhile <= 3 * calls + 3:  # a call that keeps the lock lets it count once or not at all
        before = counted
        call()
        meanwhile += counted - before
        calls += 1
    done.set()
    thread.join()
    return meanwhile > 3 * calls + 3


def test_other_threads_run_meanwhile(model: nibble.Model) -> None:
    """The interpreter's lock is free while the model works."""
    assert runs_beside(lambda: model.logits(np.zeros(model.context, np.int32), last=True))
    weights = np.zeros((2048, 2048), np.float32)
    assert runs_beside(lambda: nibble.encode(weights, "q4_k", method="mse"))


def test_a_call_that_keeps_the_lock_is_seen() -> None:
    assert not runs_beside(lambda: ctypes.PyDLL(None).usleep(20_000))


@pytest.mark.parametrize("stream", [False, True])
def test_ctrl_c_stops_it(stream: bool) -> None:
    code = f"""
import nibble, sys
model = nibble.load({str(MODEL)!r})
try:
    print("ready", flush=True)
    while True:
        made = model.generate("The dog", max_tokens=500, ignore_end=True, stream={stream})
        list(made) if {stream} else made
except KeyboardInterrupt:
    print("stopped", flush=True)
"""
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    child.send_signal(signal.SIGINT)
    assert child.communicate(timeout=60)[0] == "stopped\n"
    assert child.returncode == 0


def test_every_instruction_set_writes_the_same_text(model: nibble.Model) -> None:
    expected = model.generate("Once upon a time", max_tokens=20, temperature=0.7, seed=2).text
    for name in ("scalar", "avx2"):
        code = f"""
import nibble
model = nibble.load({str(MODEL)!r})
print(model.instruction_set)
print(model.generate("Once upon a time", max_tokens=20, temperature=0.7, seed=2), end="")
"""
        environment = {**os.environ, "NIBBLE_ISA": name}
        made = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True)
        assert made.stdout == name + "\n" + expected


def test_the_module_is_the_command_line() -> None:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-m", "nibble", *words], capture_output=True, text=True)

    assert run("--version").stdout == f"nibble {nibble.__version__}\n"
    assert run("--version").returncode == 0
    assert run("nonsense").returncode == 2
