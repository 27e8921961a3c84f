"""A real Prometheus beside a real embedded cluster while a real trial runs: every dashboard's every query is asked.

Not run where there is no `prometheus` on PATH.
"""

import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass

import psutil
import pytest
import requests

from fixtures.analysis.measurement import Measurement
from fixtures.analysis.plan import TrialSpec, trial_name
from fixtures.clusters.contract import Cluster
from fixtures.clusters.local.monitoring import Monitors
from fixtures.clusters.local.provider import LocalProvider
from fixtures.measure.jobs import JobsClient
from fixtures.measure.monitor import monitored
from fixtures.monitoring import dashboards, snapshot
from fixtures.monitoring.prometheus import Prometheus
from fixtures.system.noise import Noise
from tests.stand_ins.dashboard_queries import filled, queries
from trainer.result import MARKER, decode

pytestmark = [
    pytest.mark.ray,
    pytest.mark.skipif(
        shutil.which("prometheus") is None, reason="prometheus is not on PATH (Debian: apt-get install prometheus)"
    ),
]

SPEC = TrialSpec("timing", workers=2, copies=1, epochs=2, seed=7, probe=False)
TRIAL = trial_name(SPEC, 1)
SCRAPED_SECONDS = 40.0
"""Ray hands figures on every 10 s, and Prometheus scrapes every 5 s."""

EMPTY_OF_OURS = frozenset({"Throttling", "Test accuracy"})
"""Panels of ours without an answer here: no process has a CPU quota, and a timing trial evaluates nothing."""

ANSWERED = {
    "ray-default.json": {
        "Cluster Utilization",
        "Node CPU Usage",
        "Node Memory Usage (heap + object store)",
        "Node Disk Usage",
        "Node Network",
        "Node CPU Usage by Component",
        "Logical CPUs Usage",
        "Object Store Memory Usage",
        "All Tasks by State",
        "All Actors by State",
        "All Placement Groups by State",
    },
    "ray-train.json": {"Controller State", "CPU Usage", "Total Memory Usage", "Disk Space Usage", "Network Throughput"},
    "ray-data.json": {"Cluster utilization % (CPU)", "Cluster utilization % (Memory)"},
    "ray-serve.json": {"Cluster Utilization", "Node network"},
}
"""Panels of Ray's own dashboards that a training must fill; the others are about what nobody does here."""

VARIABLES = {
    "datasource": "prometheus",
    "trial": ".*",
    "interval": "30s",
    "window": "3m",
    "__rate_interval": "30s",
    "__interval": "30s",
    "__range": "5m",
    **dict.fromkeys(
        (
            *("Cluster", "SessionName", "Instance", "RayNodeType", "workerid", "vllm_model_name", "DatasetID"),
            *("deployment", "Operator", "sglang_model_name", "Application", "Deployment", "Replica", "Route"),
            *("HTTP_Route", "gRPC_Method", "TrainRunName", "TrainRunId", "GpuIndex", "GpuDeviceName"),
            *("TrainWorkerWorldRank", "TrainWorkerActorId"),
        ),
        ".*",
    ),
}
"""What Grafana puts in for each variable when everything is chosen."""


@dataclass(frozen=True)
class Scene:
    """A cluster that was watched while a trial ran."""

    provider: LocalProvider
    cluster: Cluster
    prometheus: Prometheus
    began: float
    ended: float
    trial: Measurement


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    provider = LocalProvider(2, 1, os.environ, monitors=Monitors(os.environ.get("PATH")))
    said: list[str] = []
    try:
        cluster = provider.up(said.append)
        prometheus = cluster.prometheus
        assert prometheus is not None
        with JobsClient(cluster.dashboard, cluster.token) as jobs, monitored(cluster, jobs, said.append) as monitor:
            assert monitor.address, said
            began = time.time()
            command = [cluster.python, "-m", "trainer", "--workers", "2", "--epochs", "2", "--seed", "7"]
            command += ["--data", cluster.data, "--monitor", monitor.address, "--trial", TRIAL]
            job = jobs.follow(jobs.submit(command), lambda _: None, 600, marker=MARKER)
            assert job.succeeded, job.log
            quiet = Noise(None, None, None, None)
            result = decode(job.log)
            trial = Measurement(SPEC, 1, result, job.submitted_at, job.started_at, job.ended_at, quiet)
            until = time.monotonic() + SCRAPED_SECONDS
            end = f'ray_e2e_trial_end_time_seconds{{trial="{TRIAL}"}}'
            while not prometheus.query(end) and time.monotonic() < until:
                time.sleep(1)
            ended = time.time() + 5  # a range has points at whole steps from its beginning: one more
            yield Scene(provider, cluster, prometheus, began, ended, trial)
    finally:
        provider.down()


def test_every_target_answers_and_every_rule_is_evaluated(scene: Scene) -> None:
    found = scene.prometheus.ask("targets", {"state": "active"})["activeTargets"]
    jobs = [each["labels"]["job"] for each in found]

    assert (jobs.count("ray"), jobs.count("prometheus")) == (4, 1), "three nodes, the dashboard, and itself"
    assert [(each["scrapeUrl"], each["lastError"]) for each in found if each["health"] != "up"] == []
    groups = scene.prometheus.ask("rules", {})["groups"]
    assert {rule["health"] for group in groups for rule in group["rules"]} == {"ok"}


@pytest.mark.parametrize("file", sorted(dashboards.every()))
def test_every_query_is_answered_and_those_of_a_training_with_series(scene: Scene, file: str) -> None:
    asked = list(queries(file, dashboards.every()[file]))
    answered = set()
    for each in asked:
        expression = filled(each.expression, VARIABLES)
        # Prometheus refuses a query that is wrong, and the client raises what it says.
        if scene.prometheus.range(expression, scene.began, scene.ended, 5):
            answered.add(each.panel)

    assert asked
    expected = ANSWERED.get(file, set())
    if file == dashboards.OURS:
        expected = {each.panel for each in asked} - EMPTY_OF_OURS
    assert expected - answered == set()


def test_the_figures_are_those_of_the_trial(scene: Scene) -> None:
    series = snapshot.take(scene.prometheus, [scene.trial])

    for rank in scene.trial.result.ranks:
        mine = {each.figure: each for each in series if each.of == f"rank {rank.rank}"}
        last, epoch = {key: each.points[-1][1] for key, each in mine.items()}, rank.epochs[-1]
        assert {"images_per_second", "step_seconds", "loss", "all_reduce_share", "cpus"} <= set(last)
        assert last["loss"] == pytest.approx(epoch.loss)
        assert last["images_per_second"] == pytest.approx(epoch.samples / epoch.seconds)
        assert last["step_seconds"] == pytest.approx(epoch.seconds / 468, rel=1e-3)
        assert 0 < last["all_reduce_share"] < 1


def test_annotations_stand_where_the_trial_began_and_ended(scene: Scene) -> None:
    marks = [
        each for each in queries(dashboards.OURS, dashboards.every()[dashboards.OURS]) if "time" in each.expression
    ]
    found = {
        each.panel: scene.prometheus.range(filled(each.expression, VARIABLES), scene.began, scene.ended, 5)
        for each in marks
    }
    (start,), (end,) = found["Trial starts"], found["Trial ends"]

    assert start.points[-1][1] / 1000 == pytest.approx(scene.trial.result.marks["start"], abs=1)
    assert end.points[-1][1] / 1000 == pytest.approx(scene.trial.result.marks["end"], abs=1)


def test_ray_s_own_dashboard_reaches_prometheus(scene: Scene) -> None:
    answer = requests.get(
        f"{scene.cluster.dashboard}/api/prometheus_health",
        headers={"Authorization": f"Bearer {scene.cluster.token}"},
        timeout=20,
    )

    assert answer.json()["msg"] == "prometheus running"


def test_the_pages_are_told_with_what_a_browser_needs(scene: Scene) -> None:
    found = {each.name: each for each in scene.provider.dashboards()}

    assert (found["Ray"].address, found["Ray"].token) == (scene.cluster.dashboard, scene.cluster.token)
    assert requests.get(f"{found['Prometheus'].address}/-/ready", timeout=10).ok


def test_prometheus_is_a_process_of_the_cluster_and_goes_with_it() -> None:
    provider = LocalProvider(1, 1, os.environ, monitors=Monitors(os.environ.get("PATH")))
    try:
        provider.up(lambda _: None)
        (page,) = (each for each in provider.dashboards() if each.name == "Prometheus")
        assert requests.get(f"{page.address}/-/ready", timeout=10).ok
        names = {psutil.Process(each).name() for each in provider.processes()}
        assert "prometheus" in names, "its work is not blamed on other programs"
    finally:
        provider.down()

    with pytest.raises(requests.ConnectionError):
        requests.get(page.address, timeout=5)
