"""The GPU of a process: a whole one that nobody else uses and that TensorFlow trains on, or a refusal in one sentence.

The harness looks for GPUs by it, too. `pynvml` (of the extra `gpu`) and TensorFlow are imported where they are used.
"""

from __future__ import annotations

import ctypes
import importlib
import time
import uuid
from collections.abc import Callable
from typing import Any, NamedTuple

from trainer.result import Gpu, GpuRecord, GpuState

CUDA_OF_TENSORFLOW = 12
"""Major version of CUDA that TensorFlow 2.21's wheels are built for: a driver for an older one cannot run them."""
MIB = 1 << 20
IDLE_MIB = 256
"""What a GPU that nobody uses may have in use: one process's CUDA context alone takes more."""
POWER_CAP = "power cap"
LIMITS = {
    0x04: POWER_CAP,
    0x08: "hardware slowdown",
    0x20: "thermal slowdown (software)",
    0x40: "thermal slowdown (hardware)",
    0x80: "power brake",
}
"""NVML's bits of what holds the clocks back. A power cap is how many GPUs run at full load; the others are faults."""


class UnusableGpuError(RuntimeError):
    """A process has no whole GPU for itself alone, or TensorFlow does not use it."""


def find_gpus() -> tuple[Gpu, ...]:
    """Return the GPUs that CUDA shows this process. Raises UnusableGpuError where the driver cannot run TensorFlow."""
    nvml = _open_nvml()
    cuda, driver = nvml.nvmlSystemGetCudaDriverVersion_v2(), nvml.nvmlSystemGetDriverVersion()
    if cuda // 1000 < CUDA_OF_TENSORFLOW:
        raise UnusableGpuError(
            f"NVIDIA's driver {driver} is for CUDA {cuda // 1000}.{cuda % 1000 // 10}: TensorFlow 2.21 needs one for "
            f"CUDA {CUDA_OF_TENSORFLOW} or newer"
        )
    return tuple(_describe(nvml, shown, driver) for shown in visible_uuids())


def why_unusable(gpu: Gpu) -> str:
    """Say why a GPU, before this run uses it, is not a whole one for one process; empty when it is."""
    if gpu.mig:
        return f"{gpu.label} is cut into slices (MIG), which share its power: expected a whole GPU"
    if gpu.processes or gpu.used_mib > IDLE_MIB:
        return (
            f"{gpu.label} is in use by others (processes: {gpu.processes}, memory: {gpu.used_mib} MiB): expected one "
            "that nobody uses"
        )
    return ""


def find_own(patience: float = 10.0) -> Gpu:
    """Return the one GPU that CUDA shows this process, which has not used it yet. Raises UnusableGpuError.

    The process of an earlier trial may leave the GPU some time after its end: `patience` is that time, in seconds.
    """
    until = time.monotonic() + patience
    while True:
        gpus = find_gpus()
        if len(gpus) != 1:
            raise UnusableGpuError(f"CUDA shows this process {len(gpus)} GPUs, expected one: see CUDA_VISIBLE_DEVICES")
        why = why_unusable(gpus[0])
        if not why:
            return gpus[0]
        if time.monotonic() > until or gpus[0].mig:
            raise UnusableGpuError(why)
        time.sleep(0.5)


def require_used(own: Gpu, listed: int, device: str) -> None:
    """Require that TensorFlow lists one GPU and keeps its weights there: it falls back to the CPU in silence."""
    if listed != 1 or not device.endswith("/device:GPU:0"):
        raise UnusableGpuError(
            f"TensorFlow does not train on {own.label}: it lists {listed} GPUs and keeps the weights on "
            f"{device.rpartition('/')[2] or 'none'}, expected one GPU (it says why with TF_CPP_MIN_LOG_LEVEL=0)"
        )


def visible_uuids() -> list[str]:
    """Return the UUID of each GPU that CUDA shows this process, as CUDA_VISIBLE_DEVICES and containers leave them."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        raise UnusableGpuError(f"CUDA's driver library cannot be loaded ({error})") from None
    count = ctypes.c_int()
    if cuda.cuInit(0) or cuda.cuDeviceGetCount(ctypes.byref(count)):
        return []
    raw = (ctypes.c_ubyte * 16)()
    uuids = []
    for device in range(count.value):
        cuda.cuDeviceGetUuid_v2(raw, device)
        uuids.append(f"GPU-{uuid.UUID(bytes=bytes(raw))}")
    return uuids


class GpuWatch:
    """Sees what holds a GPU back, and whether others use it, from its making on."""

    def __init__(self, own: Gpu, *, tf32: bool, deterministic: bool) -> None:
        """Take the first look."""
        self._own, self._tf32, self._deterministic = own, tf32, deterministic
        self._nvml = _open_nvml()
        self._handle = self._nvml.nvmlDeviceGetHandleByUUID(own.uuid)
        self._begin = self._look()

    def record(self) -> GpuRecord:
        """Take another look, and return what was seen. Raises UnusableGpuError when somebody else has joined."""
        begin, end = self._begin, self._look()
        if end.processes > 1:
            raise UnusableGpuError(
                f"{self._own.label} was used by {end.processes} processes at the end, expected one: this training's"
            )
        return GpuRecord(
            found=self._own,
            tf32=self._tf32,
            deterministic=self._deterministic,
            begin=begin.state,
            end=end.state,
            slowed=_share_slowed(begin, end),
        )

    def _look(self) -> _Look:
        nvml, handle = self._nvml, self._handle
        reasons = self._ask(nvml.nvmlDeviceGetCurrentClocksThrottleReasons) or 0
        power = self._ask(nvml.nvmlDeviceGetPowerUsage)
        violation = self._ask(nvml.nvmlDeviceGetViolationStatus, nvml.NVML_PERF_POLICY_THERMAL)
        return _Look(
            at=time.monotonic(),
            thermal=violation.violationTime / 1e9 if violation else None,
            processes=len(nvml.nvmlDeviceGetComputeRunningProcesses(handle)),
            state=GpuState(
                clock_mhz=self._ask(nvml.nvmlDeviceGetClockInfo, nvml.NVML_CLOCK_SM),
                celsius=self._ask(nvml.nvmlDeviceGetTemperature, nvml.NVML_TEMPERATURE_GPU),
                watts=power / 1000 if power is not None else None,
                limits=tuple(name for bit, name in LIMITS.items() if reasons & bit),
            ),
        )

    def _ask(self, question: Callable[..., Any], *more: int) -> Any:
        """Return the answer; None where this GPU or driver has none."""
        try:
            return question(self._handle, *more)
        except self._nvml.NVMLError:
            return None


class _Look(NamedTuple):
    """What a look at a GPU shows; `thermal` counts the seconds for which heat has held it back, ever."""

    at: float
    thermal: float | None
    processes: int
    state: GpuState


def _share_slowed(begin: _Look, end: _Look) -> float:
    """Return the share of the time for which heat held a GPU back, or of the two looks at which a fault did."""
    faults = [set(look.state.limits) - {POWER_CAP} for look in (begin, end)]
    looks = sum(map(bool, faults)) / 2
    if begin.thermal is None or end.thermal is None:
        return looks
    return max(looks, (end.thermal - begin.thermal) / max(end.at - begin.at, 1e-9))


def _describe(nvml: Any, shown: str, driver: str) -> Gpu:
    try:
        handle = nvml.nvmlDeviceGetHandleByUUID(shown)
    except nvml.NVMLError:
        raise UnusableGpuError(f"{shown} is a slice of a GPU (MIG): expected a whole GPU") from None
    memory = nvml.nvmlDeviceGetMemoryInfo(handle, version=nvml.nvmlMemory_v2)
    try:
        mig = bool(nvml.nvmlDeviceGetMigMode(handle)[0])
    except nvml.NVMLError:  # a model without slices
        mig = False
    return Gpu(
        uuid=shown,
        name=nvml.nvmlDeviceGetName(handle),
        compute=".".join(map(str, nvml.nvmlDeviceGetCudaComputeCapability(handle))),
        driver=driver,
        memory_mib=memory.total // MIB,
        used_mib=memory.used // MIB,
        processes=len(nvml.nvmlDeviceGetComputeRunningProcesses(handle)),
        mig=mig,
    )


def _open_nvml() -> Any:
    """Return pynvml, ready to be asked for as long as this process runs."""
    try:
        nvml: Any = importlib.import_module("pynvml")
    except ImportError:
        raise UnusableGpuError("nvidia-ml-py is not installed, which says what GPUs there are: `make gpu`") from None
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        raise UnusableGpuError(f"there is no NVIDIA GPU or no driver for it (NVML: {error})") from None
    return nvml
