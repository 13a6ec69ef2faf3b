# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path
from typing import Any, Callable

import numpy as np
import pytest

import nibble
from conftest import MODEL
from nibble.__main__ import program

CALIBRATION = MODEL / "calibration.txt"
HELD_OUT = MODEL / "heldout.txt"
FEW: dict[str, Any] = {"samples": 4, "length": 128}
Command = Callable[..., Any]


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_bytes_are_those_of_the_command_line(tmp_path: Path, command: Command) -> None:
    listed = command("quantize", MODEL, "-f", "q4_k_m", "-o", tmp_path / "command.gguf")
    made = nibble.quantize(MODEL, "q4_k_m", tmp_path / "python.gguf")
    assert digest(tmp_path / "python.gguf") == digest(tmp_path / "command.gguf")
    fields = made.to_dict()
    for key in set(listed) & set(fields) - {"output"}:
        assert fields[key] == listed[key], key
    assert made.written and made.output_bytes == (tmp_path / "python.gguf").stat().st_size


def test_methods_see_the_same_calibration(tmp_path: Path) -> None:
    line = [program(), "quantize", MODEL, "-f", "q4_0", "--method", "gptq", "--text", CALIBRATION]
    line += ["--samples", "4", "--length", "128", "-o", tmp_path / "command.gguf"]
    subprocess.run(list(map(str, line)), check=True, capture_output=True)
    nibble.quantize(MODEL, "q4_0", tmp_path / "texts.gguf", method="gptq", calibration=CALIBRATION, **FEW)
    seen = nibble.calibrate(MODEL, CALIBRATION, second_moments=True, **FEW)
    nibble.quantize(MODEL, "q4_0", tmp_path / "seen.gguf", method="gptq", calibration=seen)
    seen.save(tmp_path / "seen.safetensors")
    read = nibble.load_statistics(tmp_path / "seen.safetensors", MODEL)
    nibble.quantize(MODEL, "q4_0", tmp_path / "read.gguf", method="gptq", calibration=read)
    assert digest(tmp_path / "texts.gguf") == digest(tmp_path / "command.gguf")
    # Statistics are of the original alone, texts of what is quantized already, too: other numbers.
    assert digest(tmp_path / "seen.gguf") == digest(tmp_path / "read.gguf")
    assert seen.sites == read.sites and seen.samples == 4 and seen.length == 128
    squares = read.mean_squares(read.sites[0])
    assert np.array_equal(squares, seen.mean_squares(seen.sites[0])) and (squares > 0).any()


def test_texts_may_be_given_as_they_are(tmp_path: Path) -> None:
    text = CALIBRATION.read_text()
    from_file = nibble.calibrate(MODEL, CALIBRATION, **FEW)
    by_name = nibble.calibrate(MODEL, {"mine": text}, **FEW)
    in_pieces = nibble.calibrate(MODEL, text.split("\n"), **FEW)
    site = from_file.sites[0]
    for other in (by_name, in_pieces):
        assert np.array_equal(from_file.mean_squares(site), other.mean_squares(site))
    with pytest.raises(nibble.NotFoundError, match=r"\[text\]"):
        nibble.calibrate(MODEL, "Once upon a time")


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    """As by the command line, in its words."""
    text = CALIBRATION.read_text()
    bad = {
        "u16.txt": ("UTF-16", text.encode("utf-16-le")),
        "lines.jsonl": ("JSON lines", b'{"text": "a"}\n{"text": "b"}\n'),
        "zeros.bin": ("binary", bytes(4000)),
    }
    for name, (kind, data) in bad.items():
        (tmp_path / name).write_bytes(data)
        refused = subprocess.run(
            [program(), "eval", MODEL, "--text", tmp_path / name], capture_output=True, text=True, check=False
        )
        with pytest.raises(nibble.UnsupportedError, match=f"looks like {kind}") as caught:
            nibble.evaluate(MODEL, tmp_path / name)
        assert str(caught.value).split(": ")[-1] in refused.stderr
    (tmp_path / "marked.txt").write_bytes(b"\xef\xbb\xbf" + text[:4000].encode() + b"\xff and \xfe.")
    with pytest.warns(UserWarning, match="U\\+FFFD: 2"):
        made = nibble.calibrate(MODEL, tmp_path / "marked.txt", **FEW)
    clean = nibble.calibrate(MODEL, [text[:4000] + "\ufffd and \ufffd."], **FEW)
    assert np.array_equal(made.mean_squares(made.sites[0]), clean.mean_squares(made.sites[0]))


def test_texts_that_are_no_files_are_nibbles_errors(tmp_path: Path) -> None:
    for given in ("Once upon a time. " * 300, "Once\0upon", str(tmp_path / "nothing.txt")):
        with pytest.raises(nibble.NotFoundError, match=r"\[text\]"):
            nibble.calibrate(MODEL, given, **FEW)
    with pytest.raises(nibble.FileError):
        nibble.calibrate(MODEL, tmp_path, **FEW)


def test_names_may_be_any_bytes(tmp_path: Path) -> None:
    output = tmp_path / os.fsdecode(b"\xff.gguf")
    made = nibble.quantize(MODEL, "q4_0", output)
    assert made.output == output and output.exists()
    again = nibble.convert(output, tmp_path / os.fsdecode(b"\xfe.gguf"))
    assert again.output.exists() and nibble.open_model(again.output).path == again.output
    # An architecture that is no UTF-8: GGUF has lengths before texts.
    data = output.read_bytes()
    assert b"general.architecture" in data[:4000]
    at = data.index(b"llama", data.index(b"general.architecture"))
    output.write_bytes(data[:at] + b"ll\xffma" + data[at + 5 :])
    assert "\ufffd" in nibble.open_model(output).info.architecture
    with pytest.raises(nibble.Error):
        nibble.load(output)


def test_a_bad_output_is_not_written(tmp_path: Path) -> None:
    output = tmp_path / "out.gguf"
    text = {"held out": HELD_OUT.read_text()[:60000]}
    made = nibble.quantize(MODEL, "q2_k", output, verify=text, accept="kl<=0.000001")
    assert not made.written and not output.exists()
    assert made.to_dict()["acceptance"]["judgement"] == "rejected"
    assert made.verdict is not None and made.verdict.candidates[0].kl.value > 0.001


def test_a_recipe_is_data(tmp_path: Path) -> None:
    rules = nibble.recipe("q4_k_m")
    by_rules = nibble.quantize(MODEL, output=tmp_path / "rules.gguf", recipe=rules)
    nibble.quantize(MODEL, "q4_k_m", tmp_path / "name.gguf")
    assert digest(tmp_path / "rules.gguf") == digest(tmp_path / "name.gguf")
    assert by_rules.recipe == rules


def test_requests_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    with pytest.raises(nibble.InvalidArgumentError, match="q4_k"):
        nibble.quantize(MODEL, "q4_kk", tmp_path / "x.gguf")
    with pytest.raises(nibble.InvalidArgumentError, match="output"):
        nibble.quantize(MODEL, "q4_k")
    with pytest.raises(TypeError, match="samples"):
        nibble.calibrate(MODEL, CALIBRATION, samples="many")  # type: ignore[arg-type]
    with pytest.raises(nibble.InvalidArgumentError, match="no zero"):
        nibble.quantize(MODEL, "q4_k", "a\0b.gguf")
    with pytest.raises(nibble.InvalidArgumentError, match="no zero"):
        nibble.open_model("a\0b.gguf")
    with pytest.raises(nibble.InvalidArgumentError, match="samples is outside the numbers .*: -1"):
        nibble.calibrate(MODEL, CALIBRATION, samples=-1)
    assert nibble.quantize(MODEL, "q4_k", dry_run=True).bits_per_weight > 4
    assert not list(tmp_path.iterdir())


def test_one_name_is_no_list_of_letters() -> None:
    alone, listed = (nibble.quantize(MODEL, "q4_k", dry_run=True, exclude=names) for names in ("*down_proj*", ["*down_proj*"]))
    assert alone.to_dict()["tensors"] == listed.to_dict()["tensors"]
    assert alone.bits_per_weight > nibble.quantize(MODEL, "q4_k", dry_run=True).bits_per_weight


def test_a_stop_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(nibble.Cancelled):
        nibble.quantize(MODEL, "q4_k", tmp_path / "x.gguf", progress=lambda *report: False)
    assert not list(tmp_path.iterdir())


def test_lists_hold_what_requests_take() -> None:
    assert {"gptq", "rtn"} <= {one["name"] for one in nibble.methods()}
    assert {one["name"]: one["need"] for one in nibble.methods()}["gptq"] == "second_moments"
    assert "gguf" in {one["name"] for one in nibble.containers()}
    assert "search" in {one["name"] for one in nibble.fits()}
    assert {"q4_k", "q4_k_m", "bf16"} <= {one["name"] for one in nibble.formats()}
