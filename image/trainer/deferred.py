"""What a process imports, and how: TensorFlow where it trains, without Keras.

`ray.train.tensorflow` imports TensorFlow as it is loaded, for annotations; so the driver and Ray Train's
controller would each spend seconds of CPU on a library that they never call, on the cores that the workers start
on. A module of our own stands in `sys.modules` for it until somebody uses it: that is Python's public way, and
nothing of Ray is changed.
"""

from __future__ import annotations

import gc
import importlib
import os
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

# What ray.train.tensorflow names in annotations, which are evaluated as it is loaded.
TAKEN_FROM_TENSORFLOW = {"keras": SimpleNamespace(Model=object), "data": SimpleNamespace(Dataset=object)}


class _Deferred(ModuleType):
    """Stands for a library until it is needed; whoever does use it gets the real one."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # asked by the import system about the module itself
            raise AttributeError(name)
        restore(self.__name__)
        return getattr(importlib.import_module(self.__name__), name)


def defer() -> None:
    """Put a stand-in where TensorFlow would be, unless it is imported already."""
    collect_seldom()
    put_stand_in("tensorflow", **TAKEN_FROM_TENSORFLOW)


def put_stand_in(name: str, **taken: object) -> None:
    """Let a library be imported only when somebody uses more of it than what is given here."""
    stand_in = _Deferred(name)
    vars(stand_in).update(taken)
    sys.modules.setdefault(name, stand_in)


def collect_seldom() -> None:
    """Let the garbage collector look at many objects at a time.

    An import makes hundreds of thousands of objects that stay, and the collector, by default, goes through the
    young ones after every 700: a sixth of the time that TensorFlow takes to import.
    """
    gc.set_threshold(100_000, 20, 100)


def restore(name: str = "tensorflow") -> None:
    """Let the next import of a library be the real one."""
    if isinstance(sys.modules.get(name), _Deferred):
        del sys.modules[name]


def import_tensorflow() -> None:
    """Import TensorFlow without Keras, which the trainer does not use and which takes a quarter of the time.

    TensorFlow imports Keras at its own end, for what Keras registers, and goes on without it when it is not
    there; None in sys.modules is Python's way to say so. A workload that imports Keras itself gets Keras 3 on
    both sides: Ray Train asks for Keras 2, in its workers alone.
    """
    if "tensorflow" in sys.modules:
        return
    os.environ.pop("TF_USE_LEGACY_KERAS", None)
    os.environ["KERAS_BACKEND"] = "tensorflow"
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
