"""Ray's private interfaces: one module, and one version that it was seen with."""

import re
from importlib.metadata import version
from pathlib import Path

from trainer.ray_private import SEEN_WITH

ROOT = Path(__file__).parents[2]
PRIVATE = re.compile(r"\bray(\.\w+)*\._\w+|resolve_ip_for_localhost|_create_default_callbacks|_resource_request\b")


def test_ray_is_the_version_that_its_private_interfaces_were_seen_with() -> None:
    assert version("ray").startswith(f"{SEEN_WITH}."), (
        "Another Ray: run `pytest -m ray` and `make e2e`, compare trainer/ray_private.py with Ray's source, and then "
        "set SEEN_WITH to this version."
    )


def test_no_other_module_names_a_private_interface_of_ray() -> None:
    files = [*(ROOT / "fixtures").rglob("*.py"), *(ROOT / "image/trainer").rglob("*.py")]
    naming = {file.name for file in files if PRIVATE.search(file.read_text(encoding="utf-8"))}

    assert naming == {"ray_private.py"}
