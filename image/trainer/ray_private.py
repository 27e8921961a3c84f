"""The private interfaces of Ray that are used, seen with the version in SEEN_WITH; no other module names any.

On a node: Ray stays on loopback. In a training with --ray-train=trimmed, and only there: Ray Train starts without
helpers that have nothing to do here. Nothing of Ray is imported before a function is called.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from trainer import deferred

SEEN_WITH = "2.60"
UNNEEDED = ("DatasetsCallback", "PlacementGroupCleanerCallback")
"""Callbacks that each start an actor, a second of CPU while the workers start and wake-ups while they train.

One serves datasets of Ray Data, of which there are none; the other frees the workers' CPUs when the controller
dies, which the end of the job does as well.
"""
TRIMMED = {
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",  # 2 by default: how late the end of training is noticed
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # an actor for spot instances, which start up beside the workers
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",  # it sends each line of a worker through a logger as well
}
"""Variables that Ray's documentation does not list; they reach controller and workers from the driver's environment."""


def start_on_loopback() -> Callable[[], Any]:
    """Return the main function of `ray start`, kept on loopback and without the Ray Client server.

    `services` would replace loopback by the machine's address. The Ray Client server would take port 10001: no
    option turns it off, and nothing here uses it.
    """
    services: Any = importlib.import_module("ray._private.services")
    scripts: Any = importlib.import_module("ray.scripts.scripts")
    services.resolve_ip_for_localhost = lambda host: host
    scripts.get_ray_client_dependency_error = lambda: "not wanted"
    main: Callable[[], Any] = scripts.main
    return main


def trimmed_trainer() -> Any:
    """Return TensorflowTrainer without UNNEEDED, and without the actor that would ask an autoscaler for nodes."""
    from ray.train.tensorflow import TensorflowTrainer  # noqa: PLC0415
    from ray.train.v2._internal.execution.scaling_policy import FixedScalingPolicy  # noqa: PLC0415

    class FixedSize(FixedScalingPolicy):  # type: ignore[misc]
        """N workers; no cluster of ours has an autoscaler."""

        def _send_resource_request(self) -> None: ...

        def _maybe_send_resource_request(self) -> None: ...

        def _cancel_resource_request(self) -> None: ...

    class TrimmedTrainer(TensorflowTrainer):  # type: ignore[misc]
        """Ray's trainer, which has no public switch for these helpers."""

        def _create_default_callbacks(self) -> list[Any]:
            callbacks = super()._create_default_callbacks()
            return [callback for callback in callbacks if type(callback).__name__ not in UNNEEDED]

        def _initialize_and_run_controller(self, **given: Any) -> Any:
            return super()._initialize_and_run_controller(**given | {"scaling_policy": FixedSize(self.scaling_config)})

    return TrimmedTrainer


def trim_imports() -> None:
    """Keep a process of Ray Train from loading pandas and Ray Data, two thirds of its time to load.

    Driver, controller and workers would each load them for datasets of Ray Data, one after the other.
    Whatever is taken from `ray.data` is an empty class.
    """
    deferred.defer()
    deferred.put_stand_in("pandas")
    if "ray.data" not in sys.modules and not any(isinstance(finder, _RayDataFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _RayDataFinder())


class _Unused(type):
    """The type of what stands for a class of Ray Data: its class methods do nothing."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *_, **__: None


class _RayData(ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        setattr(self, name, _Unused(name, (), {"__module__": self.__name__}))
        return getattr(self, name)


class _RayDataFinder(MetaPathFinder, Loader):
    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:
        ours = fullname == "ray.data" or fullname.startswith("ray.data.")
        return ModuleSpec(fullname, self, is_package=True) if ours else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _RayData(spec.name)

    def exec_module(self, module: ModuleType) -> None: ...
