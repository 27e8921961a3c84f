"""Options of the campaign, and what its runs are given."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from fixtures.clusters.kubernetes.access.kubectl import cluster_options, without_proxy
from fixtures.clusters.kubernetes.factory import make_engine
from fixtures.settings.settings import ALL_OPTIONS, Settings
from tests.faults.on_kubernetes import Rig
from tests.faults.suite_run import Setting, processes_of


def pytest_addoption(parser: pytest.Parser) -> None:
    """How many random kills, and which."""
    group = parser.getgroup("faults")
    group.addoption("--kills", type=int, default=0, metavar="N", help="so many random kills of runs")
    group.addoption(
        "--kills-seed", type=int, default=1, metavar="SEED", help="chooses them: the same seed, the same kills"
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each kill."""
    if "kill" in metafunc.fixturenames:
        metafunc.parametrize("kill", range(1, metafunc.config.getoption("--kills") + 1))


@pytest.fixture
def setting(tmp_path: Path) -> Iterator[Setting]:
    """A checkout, and a temporary folder that is short enough for Ray's sockets."""
    temporary = Path(tempfile.mkdtemp(prefix="f-", dir="/tmp"))
    made = Setting(tmp_path, temporary)
    with made.undo:
        yield made
    for process in processes_of(temporary):  # of a run that the campaign was interrupted in
        with contextlib.suppress(psutil.Error):
            process.kill()
    shutil.rmtree(temporary, ignore_errors=True)
    shutil.rmtree(made.checkout, ignore_errors=True)


@pytest.fixture(scope="module")
def rig(settings: Settings, pytestconfig: pytest.Config) -> Iterator[Rig]:
    """The Kubernetes cluster that --cluster names; taken down after the last fault."""
    if settings.cluster == "local":
        pytest.skip("--cluster names no Kubernetes cluster")
    engine = make_engine(settings.cluster, settings.kubernetes, os.environ)
    flags = {flag for option in ALL_OPTIONS for flag in (option.flag, option.twin)}
    options = [given for given in pytestconfig.invocation_params.args if given.partition("=")[0] in flags]
    kubectl_options = cluster_options(engine.kubeconfig, engine.context)
    environ = without_proxy(os.environ)
    made = Rig(settings.cluster, tuple(options), kubectl_options, settings.kubernetes.namespace, environ)
    yield made
    made.call("down")
