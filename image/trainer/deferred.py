"""What a process imports, and how: TensorFlow where it trains, without Keras; what nobody calls, never.

`ray.train.tensorflow` imports TensorFlow as it is loaded, for annotations; so the driver and Ray Train's
controller would each spend seconds of CPU on a library that they never call, on the cores that the workers start
on. Likewise `ray.train` imports Ray Data and pandas, which serve datasets of Ray Data: two thirds of its own time
to load, in the driver, then in the controller, then in every worker, each of which waits for the one before.
"""

from __future__ import annotations

import gc
import importlib
import sys
from collections.abc import Mapping
from types import ModuleType, SimpleNamespace
from typing import Any

from trainer import ray_private

STANDS_IN: Mapping[str, Mapping[str, object]] = {
    # What ray.train.tensorflow names in annotations, which are evaluated as it is loaded.
    "tensorflow": {"keras": SimpleNamespace(Model=object), "data": SimpleNamespace(Dataset=object)},
    "pandas": {},
}
"""Libraries that ray.train imports, and what it takes from them there."""


class _Deferred(ModuleType):
    """Stands for a library until it is needed; whoever does use it gets the real one."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # asked by the import system about the module itself
            raise AttributeError(name)
        restore(self.__name__)
        return getattr(importlib.import_module(self.__name__), name)


def defer() -> None:
    """Put stand-ins where TensorFlow, pandas and Ray Data would be; none for what is imported already."""
    collect_seldom()
    for name, taken in STANDS_IN.items():
        stand_in = _Deferred(name)
        vars(stand_in).update(taken)
        sys.modules.setdefault(name, stand_in)
    ray_private.leave_out_ray_data()


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
