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
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace
from typing import Any

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


class _Unused(type):
    """The type of what stands for a class of Ray Data: its class methods do nothing."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *_, **__: None


class _RayData(ModuleType):
    """Stands for `ray.data` and all below it: whatever is imported from there is a class of that name."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        setattr(self, name, _Unused(name, (), {"__module__": self.__name__}))
        return getattr(self, name)


class _RayDataFinder(MetaPathFinder, Loader):
    """Finds the stand-in wherever `ray.data` is imported."""

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Ours for `ray.data` and what is below it."""
        ours = fullname == "ray.data" or fullname.startswith("ray.data.")
        return ModuleSpec(fullname, self, is_package=True) if ours else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """The stand-in."""
        return _RayData(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """There is nothing to run."""


def defer() -> None:
    """Put stand-ins where TensorFlow, pandas and Ray Data would be; none for what is imported already."""
    collect_seldom()
    for name, taken in STANDS_IN.items():
        stand_in = _Deferred(name)
        vars(stand_in).update(taken)
        sys.modules.setdefault(name, stand_in)
    if "ray.data" not in sys.modules and not any(isinstance(each, _RayDataFinder) for each in sys.meta_path):
        sys.meta_path.insert(0, _RayDataFinder())


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
