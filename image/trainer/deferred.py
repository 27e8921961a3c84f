"""What a process imports, and how: TensorFlow where it trains, without Keras; where it only coordinates, never.

`ray.train.tensorflow` imports TensorFlow as it is loaded, for annotations; so the driver, Ray Train's
controller and its helpers would each spend seconds of CPU on a library that they never call, on the cores
that the workers start on.
"""

from __future__ import annotations

import gc
import importlib
import sys
from types import ModuleType, SimpleNamespace
from typing import Any


class _Deferred(ModuleType):
    """Stands for TensorFlow until it is needed; whoever does use it gets the real one."""

    # What ray.train.tensorflow names in annotations, which are evaluated as it is loaded.
    keras = SimpleNamespace(Model=object)
    data = SimpleNamespace(Dataset=object)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # asked by the import system about the module itself
            raise AttributeError(name)
        restore()
        return getattr(importlib.import_module("tensorflow"), name)


def defer() -> None:
    """Put a stand-in where TensorFlow would be; nothing when it is imported already."""
    collect_seldom()
    sys.modules.setdefault("tensorflow", _Deferred("tensorflow"))


def collect_seldom() -> None:
    """Let the garbage collector look at many objects at a time.

    An import makes hundreds of thousands of objects that stay, and the collector, by default, goes through the
    young ones after every 700: a sixth of the time that TensorFlow takes to import.
    """
    gc.set_threshold(100_000, 20, 100)


def restore() -> None:
    """Let the next import of TensorFlow be the real one."""
    if isinstance(sys.modules.get("tensorflow"), _Deferred):
        del sys.modules["tensorflow"]


def import_tensorflow() -> None:
    """Import TensorFlow without Keras, which the trainer does not use and which takes a quarter of the time.

    TensorFlow imports Keras at its own end, for what Keras registers, and goes on without it when it is not
    there; None in sys.modules is Python's way to say so.
    """
    if "tensorflow" in sys.modules:
        return
    blocked = "keras" not in sys.modules
    collect_seldom()
    if blocked:
        sys.modules["keras"] = None  # type: ignore[assignment]
    try:
        importlib.import_module("tensorflow")
    finally:
        if blocked:
            del sys.modules["keras"]
        gc.freeze()  # what was imported stays: no collection needs to go through it, and stop a rank meanwhile
