# SPDX-License-Identifier: Apache-2.0
"""The examples of the documentation, as they stand there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from conftest import SOURCE


@pytest.mark.parametrize("page", ["README.md", "docs/python.md"])
def test_examples_run(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of a page one after the other, in a directory with the bundled model."""
    examples = re.findall(r"^```python\n(.*?)^```", (SOURCE / page).read_text(), re.MULTILINE | re.DOTALL)
    assert examples
    (tmp_path / "models").symlink_to(SOURCE / "models")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for number, example in enumerate(examples, 1):
        exec(compile(example, f"{page}, example {number}", "exec"), names)
