"""What a provider on Kubernetes owes, on the real cluster that --cluster names (pytest -m kubernetes --cluster=kind).

The tests run in this order on one cluster, which the last one takes down.
"""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from fixtures.clusters.contract import Cluster, Provider, require_nothing_missing
from fixtures.clusters.factory import make_provider
from fixtures.clusters.kubernetes.access.api import Api
from fixtures.clusters.kubernetes.access.objects import is_worker, name
from fixtures.clusters.kubernetes.factory import make_engine
from fixtures.measure.jobs import JobsClient
from fixtures.settings.settings import Settings

pytestmark = pytest.mark.kubernetes

READY_SECONDS = 120.0


@pytest.fixture(scope="module")
def settings_here(settings: Settings) -> Settings:
    if settings.cluster == "local":
        pytest.skip("--cluster names no Kubernetes cluster")
    return settings


@pytest.fixture(scope="module")
def provider(settings_here: Settings) -> Iterator[Provider]:
    made = make_provider(settings_here, os.environ)
    require_nothing_missing(made.preflight())
    yield made
    made.down()


@pytest.fixture(scope="module")
def cluster(provider: Provider) -> Cluster:
    return provider.up(print)


@pytest.fixture(scope="module")
def api(settings_here: Settings, cluster: Cluster) -> Api:
    engine = make_engine(settings_here.cluster, settings_here.kubernetes, os.environ)
    return Api(engine.kubeconfig, engine.context)


def run(cluster: Cluster, code: str, cpus: float) -> list[str]:
    with JobsClient(cluster.dashboard, cluster.token) as jobs:
        job = jobs.follow(jobs.submit([cluster.python, "-c", code], cpus=cpus), print, deadline_seconds=120)
    assert job.succeeded, job.log
    return job.log.splitlines()


def test_each_worker_has_a_pod_and_pods_are_spread_over_nodes(
    settings_here: Settings, cluster: Cluster, api: Api
) -> None:
    workers = max(settings_here.workers)
    pods = [pod for pod in api.list("Pod", settings_here.kubernetes.namespace) if is_worker(pod)]

    assert sorted(node.name for node in cluster.nodes) == sorted(name(pod) for pod in pods)
    assert len(pods) == workers
    assert len({pod["spec"]["nodeName"] for pod in pods}) == min(workers, len(api.list("Node")))


def test_every_node_has_the_same_image_by_its_own_list(cluster: Cluster) -> None:
    digests = cluster.image

    assert len(set(digests.values())) == 1
    assert all(digest.startswith("sha256:") for digest in digests.values())


def test_a_baseline_runs_in_a_workers_pod_and_a_driver_on_the_head(settings_here: Settings, cluster: Cluster) -> None:
    code = (
        "import os, sys\n"
        "from trainer.cgroup import cpu_quota\n"
        "print('HOST', os.uname().nodename, 'USER', os.getuid(), 'QUOTA', cpu_quota())\n"
        "print('RAY' if 'ray' in sys.modules else 'NO RAY')"
    )
    (on_worker, ray), (on_head, _) = run(cluster, code, cpus=1)[-2:], run(cluster, code, cpus=0)[-2:]

    assert "-worker-" in on_worker
    assert on_worker.endswith(f"USER 1000 QUOTA {float(settings_here.cpus_per_worker)}")
    assert ray == "NO RAY"
    assert "-head-" in on_head


def test_the_dashboard_refuses_who_has_no_token(cluster: Cluster) -> None:
    assert requests.get(f"{cluster.dashboard}/api/jobs/", timeout=10).status_code == 401


def test_it_is_scaled_to_exactly_the_count_that_is_asked_for(
    settings_here: Settings, provider: Provider, cluster: Cluster, api: Api
) -> None:
    most = max(settings_here.workers)
    for workers in (1, most):
        provider.scale(workers, print)
        pods = [pod for pod in api.list("Pod", settings_here.kubernetes.namespace) if is_worker(pod)]
        assert len(pods) == workers
        assert provider.trouble() == ""


def test_a_pod_that_dies_is_named_and_the_evidence_says_so_without_the_token(
    settings_here: Settings, provider: Provider, cluster: Cluster, api: Api, tmp_path: Path
) -> None:
    space = settings_here.kubernetes.namespace
    victim = next(name(pod) for pod in api.list("Pod", space) if is_worker(pod))
    api.delete("Pod", victim, space)
    wait_until(lambda: victim in provider.trouble())

    provider.collect_evidence(tmp_path / "evidence")

    files = {file.name: file.read_text(encoding="utf-8") for file in (tmp_path / "evidence").iterdir()}
    assert victim in files["SUMMARY.md"]
    assert not any(cluster.token in text for text in files.values())
    assert sum(len(text) for text in files.values()) < 6_000_000


def test_nothing_of_ours_is_left(settings_here: Settings, provider: Provider, cluster: Cluster, api: Api) -> None:
    provider.down()

    assert provider.trouble()
    assert not provider.processes()
    if settings_here.cluster == "context":
        assert api.get("Namespace", settings_here.kubernetes.namespace) is None
    else:
        assert not make_engine(settings_here.cluster, settings_here.kubernetes, os.environ).exists()


def wait_until(true: Callable[[], bool]) -> None:
    until = time.monotonic() + READY_SECONDS
    while not true():
        assert time.monotonic() < until
        time.sleep(1)
