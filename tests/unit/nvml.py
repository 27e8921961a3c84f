"""A stand-in for NVML and CUDA: GPUs that a test describes, seen as pynvml and libcuda would show them."""

import sys
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest

from trainer import gpu

MIB = 1 << 20
FIRST, SECOND = "GPU-11111111-2222-3333-4444-555555555555", "GPU-99999999-8888-7777-6666-555555555555"


@dataclass
class Device:
    """One GPU, as NVML describes it; a figure that is None is not supported."""

    uuid: str = FIRST
    name: str = "NVIDIA H200"
    used: int = 0
    processes: int = 0
    mig: int | None = 0
    reasons: int | None = 1  # idle
    thermal_ns: int | None = 0
    clock: int | None = 1980


class NVMLError(Exception):
    """What pynvml raises."""


class Nvml:
    """The functions of pynvml that are used."""

    NVMLError = NVMLError
    NVML_CLOCK_SM, NVML_TEMPERATURE_GPU, NVML_PERF_POLICY_THERMAL = 1, 0, 1
    nvmlMemory_v2 = 0x02000028  # noqa: N815

    def __init__(self, *devices: Device, cuda: int = 13000, driver: str = "580.159.04", broken: str = "") -> None:
        self.devices = {device.uuid: device for device in devices}
        self.cuda, self.driver, self.broken = cuda, driver, broken

    def nvmlInit(self) -> None:  # noqa: N802
        if self.broken:
            raise NVMLError(self.broken)

    def __getattr__(self, name: str) -> Any:
        answers = {
            "nvmlSystemGetCudaDriverVersion_v2": lambda: self.cuda,
            "nvmlSystemGetDriverVersion": lambda: self.driver,
            "nvmlDeviceGetHandleByUUID": lambda uuid: supported(self.devices.get(uuid)),
            "nvmlDeviceGetName": lambda device: device.name,
            "nvmlDeviceGetCudaComputeCapability": lambda device: (9, 0),
            "nvmlDeviceGetMemoryInfo": lambda device, version: SimpleNamespace(
                total=143_771 * MIB, used=device.used * MIB
            ),
            "nvmlDeviceGetComputeRunningProcesses": lambda device: [object()] * device.processes,
            "nvmlDeviceGetMigMode": lambda device: [supported(device.mig), 0],
            "nvmlDeviceGetCurrentClocksThrottleReasons": lambda device: supported(device.reasons),
            "nvmlDeviceGetViolationStatus": lambda device, policy: SimpleNamespace(
                violationTime=supported(device.thermal_ns)
            ),
            "nvmlDeviceGetClockInfo": lambda device, clock: supported(device.clock),
            "nvmlDeviceGetTemperature": lambda device, sensor: 41,
            "nvmlDeviceGetPowerUsage": lambda device: 110_500,
        }
        if name not in answers:
            raise AttributeError(name)
        return answers[name]


def supported(value: Any) -> Any:
    if value is None:
        raise NVMLError("Not Supported")
    return value


def install(monkeypatch: pytest.MonkeyPatch, *devices: Device, shown: list[str] | None = None, **nvml: Any) -> None:
    """Let this process see these GPUs; CUDA shows all of them, or those that are named."""
    monkeypatch.setitem(sys.modules, "pynvml", Nvml(*devices, **nvml))
    monkeypatch.setattr(gpu, "visible_uuids", lambda: [device.uuid for device in devices] if shown is None else shown)
