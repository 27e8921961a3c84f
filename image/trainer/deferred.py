"""Lets processes that only coordinate import Ray Train's TensorFlow parts without TensorFlow itself.

`ray.train.tensorflow` imports TensorFlow as it is loaded, for annotations; so the driver and Ray Train's
controller would each spend seconds of CPU on a library that they never call, on the cores that the
workers start on.
"""

from __future__ import annotations

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
    sys.modules.setdefault("tensorflow", _Deferred("tensorflow"))


def restore() -> None:
    """Let the next import of TensorFlow be the real one."""
    if isinstance(sys.modules.get("tensorflow"), _Deferred):
        del sys.modules["tensorflow"]
