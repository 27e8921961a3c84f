"""A real TensorFlow for CPUs where a GPU is asked for: refused by name, whatever NVIDIA's driver says. No Ray."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.training

ROOT = Path(__file__).parents[2]
WITH_GPU = """
import sys
from tests.unit.nvml import FIRST, Device, Nvml
from trainer import gpu
from trainer.__main__ import main
sys.modules["pynvml"] = Nvml(Device())
gpu.visible_uuids = lambda: [FIRST]
sys.exit(main(["--workers", "0", "--gpus", "1", "--probe", "--timing-updates", "2"]))
"""


def train(*command: str) -> subprocess.CompletedProcess[str]:
    environ = {"PYTHONPATH": f"{ROOT}:{ROOT / 'image'}", "TF_CPP_MIN_LOG_LEVEL": "2"}
    return subprocess.run(
        [sys.executable, *command], env=environ, capture_output=True, text=True, timeout=60, check=False
    )


def test_a_tensorflow_that_trains_on_the_cpu_is_refused_although_there_is_a_gpu() -> None:
    ended = train("-c", WITH_GPU)

    assert ended.returncode == 5, ended.stderr
    assert "trainer: TensorFlow does not train on NVIDIA H200 (GPU-" in ended.stderr
    assert "it lists 0 GPUs and keeps the weights on device:CPU:0, expected one GPU" in ended.stderr


def test_a_machine_without_a_gpu_is_refused_in_one_sentence() -> None:
    hidden = "import sys; sys.modules['pynvml'] = None; from trainer.__main__ import main; "

    ended = train("-c", f"{hidden}sys.exit(main(['--workers', '0', '--gpus', '1']))")

    assert ended.returncode == 5, ended.stderr
    assert ended.stderr.splitlines()[-1].startswith("trainer: nvidia-ml-py is not installed")
