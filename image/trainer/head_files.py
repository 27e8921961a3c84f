"""Files in the memory of an actor on the head: every node reaches them, and no lost worker node takes them away.

It stands in for the shared or cloud storage that Ray Train wants of a cluster with several machines.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any

import ray
from fsspec import AbstractFileSystem
from fsspec.implementations.memory import MemoryFileSystem
from pyarrow.fs import FSSpecHandler, PyFileSystem

ON_HEAD = {"node:__internal_head__": 0.001}


class _Keeper:
    """Has the files, and does with them what is asked."""

    def __init__(self) -> None:
        self._files = MemoryFileSystem()

    def ask(self, method: str, *arguments: Any, **options: Any) -> Any:
        return getattr(self._files, method)(*arguments, **options)


class HeadFiles(AbstractFileSystem):  # type: ignore[misc]
    """The files of a keeper, as Ray Train and a rank use them from any node."""

    cachable = False

    def __init__(self, keeper: str) -> None:
        """Connect to nothing yet; the keeper is known by its name."""
        super().__init__()
        self._keeper = keeper

    def arrow(self) -> PyFileSystem:
        """Return them as Ray Train takes a storage."""
        return PyFileSystem(FSSpecHandler(self))

    def read(self, name: str) -> bytes:
        """Return the content of a file."""
        return bytes(self.cat_file(name))

    def write(self, name: str, content: bytes) -> None:
        """Write one that is whole or not there."""
        self.pipe_file(name, content)

    def info(self, path: str, **_: Any) -> Any:
        """Describe a file or a folder; raise FileNotFoundError."""
        return self._ask("info", path)

    def ls(self, path: str, detail: bool = True, **_: Any) -> Any:
        """List a folder."""
        return self._ask("ls", path, detail=detail)

    def mkdir(self, path: str, create_parents: bool = True, **_: Any) -> None:
        """Make a folder, which may be there."""
        self._ask("makedirs", path, exist_ok=True)

    def makedirs(self, path: str, exist_ok: bool = True) -> None:
        """Make a folder and those above it."""
        self._ask("makedirs", path, exist_ok=True)

    def rm(self, path: str, recursive: bool = False, maxdepth: int | None = None) -> None:
        """Remove a file or a folder."""
        self._ask("rm", path, recursive=recursive)

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any) -> Any:
        """Return the content of a file, or a part of it."""
        return self._ask("cat_file", path, start=start, end=end)

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_: Any) -> None:
        """Write a whole file."""
        self._ask("pipe_file", path, value)

    def _open(self, path: str, mode: str = "rb", **_: Any) -> BytesIO:
        return BytesIO(self.cat_file(path)) if "r" in mode else _Unwritten(self, path)

    def _ask(self, method: str, *arguments: Any, **options: Any) -> Any:
        return ray.get(ray.get_actor(self._keeper).ask.remote(method, *arguments, **options))


class _Unwritten(BytesIO):
    """A file that is written when it is closed."""

    def __init__(self, files: HeadFiles, path: str) -> None:
        super().__init__()
        self._files, self._path = files, path

    def close(self) -> None:
        if not self.closed:
            self._files.write(self._path, self.getvalue())
        super().close()


@contextmanager
def keep() -> Iterator[HeadFiles]:
    """Keep files until this ends."""
    name = f"files-{secrets.token_hex(8)}"
    keeper = ray.remote(num_cpus=0, resources=ON_HEAD)(_Keeper).options(name=name).remote()
    ray.get(keeper.ask.remote("ls", "/"))  # it runs
    try:
        yield HeadFiles(name)
    finally:
        ray.kill(keeper)
