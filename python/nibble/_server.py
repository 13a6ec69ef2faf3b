# SPDX-License-Identifier: Apache-2.0
"""The server, as long as it is needed: `nibble serve` of the program that came with this package."""

from __future__ import annotations

import os
import re
import subprocess
import threading
from collections import deque
from collections.abc import Sequence
from types import TracebackType

from ._errors import Error
from ._models import Checkpoint, Model, PathLike, checkpoint_of


class Server:
    """A server that runs; a context manager that ends it. Made by nibble.serve()."""

    def __init__(self, process: subprocess.Popen[str], url: str, log: deque[str]) -> None:
        self._process = process
        self._log = log
        self.url = url  # "http://127.0.0.1:40123"

    @property
    def base_url(self) -> str:
        """What clients of OpenAI's interface are given."""
        return self.url + "/v1"

    @property
    def log(self) -> list[str]:
        """The last lines that it said."""
        return list(self._log)

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def stop(self) -> None:
        """Lets what was begun come to its end, for at most the server's `drain` seconds."""
        if self.is_running:
            self._process.terminate()
        self._process.wait()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<nibble.Server {self.url}{'' if self.is_running else ', ended'}>"


def serve(
    model: PathLike | Checkpoint | Model,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    drain: int = 5,
    arguments: Sequence[str] = (),
) -> Server:
    """Serves a model over HTTP to clients of OpenAI's interface, in a process of its own.

    port: 0 takes any that is free; the server's `url` says which. arguments: what else `nibble serve --help` lists.
    Error: what the server said where it does not come up.
    """
    from .__main__ import program

    path = checkpoint_of(model).path if isinstance(model, (Checkpoint, Model)) else os.fspath(model)
    line = [str(program()), "serve", str(path), "--host", host, "--port", str(port), "--drain", str(drain), *arguments]
    process = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    log: deque[str] = deque(maxlen=1000)
    assert process.stderr is not None
    try:
        for said in process.stderr:
            log.append(said.rstrip())
            if found := re.search(r"serves .* at (http\S+)/v1", said):
                threading.Thread(target=log.extend, args=(map(str.rstrip, process.stderr),), daemon=True).start()
                return Server(process, found[1], log)
    except BaseException:
        process.kill()
        process.wait()
        raise
    process.wait()
    raise Error(log[-1].removeprefix("nibble: error: ") if log else f"the server ended with exit code {process.returncode}")
