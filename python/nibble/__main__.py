# SPDX-License-Identifier: Apache-2.0
"""python -m nibble: the command line, in place of this process."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def program() -> Path:
    """The command line that was built with this package."""
    return Path(__file__).parent / "bin" / "nibble"


def main() -> None:
    path = program()
    os.execv(path, [str(path), *sys.argv[1:]])


if __name__ == "__main__":
    main()
