"""The benchmark's variants really train: each for some updates, in a process of its own."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.rounds import SCRIPTS
from benchmarks.variants.common import decode

pytestmark = pytest.mark.training

ROOT = Path(__file__).parents[2]
UPDATES = 40
USUAL_LOSS, BAND = 1.28, 0.2
"""Mean loss of the first 40 updates: 1.25 to 1.33 for the six variants; 2.30 for a network that does not learn."""


@pytest.mark.parametrize("name", [name for name, script in SCRIPTS.items() if not script.workers])
def test_a_variant_trains_as_many_updates_as_asked_and_learns_as_the_others_do(name: str) -> None:
    script = SCRIPTS[name]
    if importlib.util.find_spec(script.package) is None:
        pytest.skip(f"{script.package} is not installed; `make bench` installs it")
    command = [sys.executable, "-m", f"benchmarks.variants.{script.module}", "--keras", script.package]
    command += ["--updates", str(UPDATES), "--evaluate"]
    finished = subprocess.run(
        command,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'image'}"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr[-2000:]

    result = decode(finished.stdout)
    assert (result.variant, result.keras) == (script.module, script.package)
    assert (result.updates, result.samples) == (UPDATES, UPDATES * 128)
    assert (result.intra_threads, result.inter_threads) == (1, 1)
    assert 0 < result.seconds < 60
    assert abs(result.loss - USUAL_LOSS) < BAND
    assert result.accuracy is not None
    assert 0.8 < result.accuracy < 0.95
