# SPDX-License-Identifier: Apache-2.0
"""The installed package beside the command line that came with it; run by pytest (tests/slow python)."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any, Callable

import pytest

import nibble
from nibble.__main__ import program

SOURCE = Path(__file__).resolve().parents[2]
MODEL = SOURCE / "models" / "fable-5M"
TALE = SOURCE / "tests" / "data" / "tale-4M"


@pytest.fixture(scope="session")
def model() -> nibble.Model:
    return nibble.load(MODEL)


@pytest.fixture(scope="session")
def command() -> Callable[..., Any]:
    """What the command line prints with --json."""

    def run(*arguments: object) -> Any:
        line = [str(program()), *map(str, arguments), "--json"]
        return json.loads(subprocess.run(line, check=True, capture_output=True, text=True).stdout)

    return run
