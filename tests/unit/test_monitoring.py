"""Asking Prometheus, the snapshot of a run, the exporter's job: what is missing is told, and costs no measurement."""

import json
from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

from fixtures.analysis.plan import trial_name
from fixtures.clusters.contract import Cluster
from fixtures.clusters.local.monitoring import LISTENING, Monitors, Watching, grafana_on
from fixtures.errors import InfraError
from fixtures.measure import monitor
from fixtures.measure.monitor import Monitor, monitored
from fixtures.monitoring import files, snapshot
from fixtures.monitoring.prometheus import Prometheus, Series, over_http
from tests.stand_ins.kubernetes_store import FakeClock
from tests.unit.trials import run, timing_round

RUN = run(*(timing_round(n, 10.0, 5.5, None) for n in (1, 2)))


class Played:
    """A Prometheus that answers each question with the same series, and remembers the questions."""

    def __init__(self, series: Sequence[dict[str, Any]] = (), ended_after: int = 0) -> None:
        self.series, self.asked, self.ended_after = list(series), [], ended_after  # type: ignore[var-annotated]

    def __call__(self, path: str) -> Any:
        parts = urlsplit(path)
        given = {key: values[0] for key, values in parse_qs(parts.query).items()}
        self.asked.append((parts.path, given))
        if parts.path.endswith("/query"):
            self.ended_after -= 1
            result = [] if self.ended_after >= 0 else [{"metric": {}, "value": [1.0, "2"]}]
            return {"status": "success", "data": {"resultType": "vector", "result": result}}
        return {"status": "success", "data": {"resultType": "matrix", "result": self.series}}


def test_an_answer_is_read_as_series_with_labels_and_points_in_order_and_a_scalar_without_labels() -> None:
    played = Played([{"metric": {"rank": "0"}, "values": [[1.5, "2"], [6.5, "NaN"], [11.5, "3e2"]]}])

    (series,) = Prometheus(played).range("up", 1.5, 11.5, 5)

    assert series.labels == {"rank": "0"}
    assert (series.points[0], series.points[2]) == ((1.5, 2.0), (11.5, 300.0))
    assert played.asked == [("/api/v1/query_range", {"query": "up", "start": "1.500", "end": "11.500", "step": "5"})]
    scalar = {"status": "success", "data": {"resultType": "scalar", "result": [1.0, "1"]}}
    assert Prometheus(lambda _: scalar).query("1") == (Series({}, ((1.0, 1.0),)),)


@pytest.mark.parametrize("answer", [{"status": "error", "error": "parse error"}, [], None, "x"])
def test_an_answer_that_is_no_success_names_the_question_and_what_was_said(answer: Any) -> None:
    with pytest.raises(InfraError, match=r"Prometheus does not answer query \{'query': 'up'\}: ") as failed:
        Prometheus(lambda _: answer).query("up")
    assert not isinstance(answer, dict) or "parse error" in failed.value.cause


def test_nobody_who_answers_is_told_with_the_address() -> None:
    with pytest.raises(InfraError, match=r"Prometheus at http://127\.0\.0\.1:9 does not answer: "):
        Prometheus(over_http("http://127.0.0.1:9", (0.5, 0.5))).query("up")


def test_every_trial_is_asked_for_by_its_label_and_its_time_and_without_a_label_by_its_exact_end() -> None:
    played = Played([{"metric": {"rank": "1"}, "values": [[1.0, "2"]]}])

    series = snapshot.take(Prometheus(played), RUN.measurements, FakeClock(9e9))

    trials = [trial_name(trial.spec, trial.round) for trial in RUN.measurements]
    assert trials[:2] == ["accuracy, baseline", "accuracy, 2 workers"]
    assert trials[2:] == ["round 1, baseline", "round 1, 2 workers", "round 2, baseline", "round 2, 2 workers"]
    ranges = [given for path, given in played.asked if path.endswith("query_range")]
    assert len(series) == len(ranges) == len(trials) * len(snapshot.FIGURES)
    first = RUN.measurements[0]
    assert 'trial="accuracy, baseline"' in ranges[0]["query"]
    assert float(ranges[0]["start"]) == pytest.approx(first.submitted_at, abs=1e-3)
    for given in ranges[: len(snapshot.FIGURES)]:
        late = snapshot.LATE_SECONDS if "trial=" in given["query"] else 0.0
        assert float(given["end"]) - first.ended_at == pytest.approx(late, abs=2e-3)
    assert {(1, "baseline", "rank 1"), (2, "2 workers", "rank 1")} <= {(one.round, one.name, one.of) for one in series}


def test_the_last_trial_s_end_is_waited_for_and_not_for_ever() -> None:
    clock = FakeClock(RUN.measurements[-1].ended_at)
    snapshot.take(Prometheus(Played(ended_after=3)), RUN.measurements, clock)
    assert len(clock.slept) == 3

    never = Played(ended_after=1000)
    snapshot.take(Prometheus(never), RUN.measurements, FakeClock(RUN.measurements[-1].ended_at))
    assert sum(path.endswith("/query") for path, _ in never.asked) <= snapshot.LATE_SECONDS + 1


def cluster(prometheus: Prometheus | None) -> Cluster:
    return Cluster("http://x", "token", (), {}, "python", "data", 2, 0, prometheus=prometheus)


def test_without_monitoring_or_prometheus_the_run_stays_as_it_was_and_no_job_is_submitted() -> None:
    class Untouched:
        def __getattr__(self, name: str) -> Any:
            raise AssertionError(name)

    untouched: Any = Untouched()
    with monitored(cluster(None), untouched, lambda _: None) as monitor:
        assert monitor.address == ""
        assert monitor.with_series(RUN) is RUN
    lines: list[str] = []

    def gone(_: str) -> Any:
        raise InfraError("Prometheus is gone.")

    assert Monitor("", Prometheus(gone), lines.append).with_series(RUN) == RUN
    assert lines == ["no time series in the report: Prometheus is gone."]


class Exporter:
    """Plays the Jobs API for one job."""

    def __init__(self, log: str, status: str = "RUNNING") -> None:
        self.log, self.state, self.stopped = log, status, []  # type: ignore[var-annotated]

    def submit(self, command: Sequence[str], cpus: float = 0) -> str:
        assert (list(command), cpus) == (["python", "-m", "trainer.exporter"], 0), "on the head, without a CPU"
        return "job-1"

    def status(self, job: str) -> dict[str, Any]:
        return {"status": self.state}

    def logs(self, job: str) -> str:
        return self.log

    def stop(self, job: str) -> None:
        self.stopped.append(job)


def monitor_with(exporter: Any, lines: list[str]) -> AbstractContextManager[Monitor]:
    return monitored(cluster(Prometheus(Played())), exporter, lines.append)


def test_trials_are_told_where_the_exporter_listens_and_it_is_stopped_whatever_happens() -> None:
    exporter = Exporter("2026 INFO ray\nEXPORTER-READY 10.244.0.3:41234\n")

    with suppress(KeyboardInterrupt), monitor_with(exporter, []) as monitor:
        assert monitor.address == "10.244.0.3:41234"
        raise KeyboardInterrupt
    assert exporter.stopped == ["job-1"]


@pytest.mark.parametrize(
    ("exporter", "why"),
    [
        (Exporter("No module named trainer.exporter", "FAILED"), "ended FAILED: No module named trainer.exporter"),
        (Exporter(""), "did not start within 0 s: it is RUNNING"),
    ],
    ids=["failed", "silent"],
)
def test_an_exporter_that_fails_is_named_and_the_run_goes_on(
    exporter: Exporter, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitor, "EXPORTER_SECONDS", 0.0)
    lines: list[str] = []

    with monitor_with(exporter, lines) as started:
        assert started.address == ""
    (line,) = lines
    assert line.startswith(f"the trials' own figures are not exported: the exporter {why}")
    assert line.endswith("(see TROUBLESHOOTING: monitoring-not-started)")


def test_a_lease_brings_the_monitors_back_without_telling_the_password() -> None:
    watching = Watching("http://127.0.0.1:1", "http://127.0.0.1:2", "open sesame")

    assert Watching.of_lease(json.loads(json.dumps({"monitoring": watching.to_lease()}))) == watching
    assert Watching.of_lease({}) is None
    assert [(page.name, page.user) for page in watching.dashboards()] == [("Grafana", "admin"), ("Prometheus", "")]
    assert "sesame" not in repr((watching, watching.dashboards()))
    environment = watching.environment()
    assert environment["RAY_GRAFANA_HOST"] == environment["RAY_GRAFANA_IFRAME_HOST"] == "http://127.0.0.1:2"
    assert environment["DASHBOARD_METRIC_PORT"] != "0", "Ray would list port 0 as a target"
    assert Watching("http://127.0.0.1:1").environment()["RAY_GRAFANA_HOST"] == "DISABLED"


@pytest.mark.parametrize(
    "line",
    [  # of Prometheus 2.42 and of 3.5
        'ts=2026-11-25T15:22:42.491Z caller=tls_config.go:232 level=info component=web msg="Listening on" '
        "address=127.0.0.1:35885",
        'time=2026-11-25T16:00:00.000Z level=INFO source=tls_config.go:347 msg="Listening on" component=web '
        "address=127.0.0.1:35885",
    ],
)
def test_the_port_that_prometheus_took_is_in_its_log(line: str) -> None:
    found = LISTENING.search(f"first\n{line}\nlast")

    assert found is not None
    assert found[1] == "127.0.0.1:35885"


def test_the_monitors_of_an_embedded_cluster_do_not_get_its_token(tmp_path: Path) -> None:
    seen, program = tmp_path / "seen", tmp_path / "prometheus"
    program.write_text(f"#!/bin/sh\n/usr/bin/env > {seen}\n")
    program.chmod(0o755)

    with pytest.raises(InfraError, match="Prometheus ended with 0"):
        Monitors(str(tmp_path)).start(tmp_path, {"RAY_AUTH_TOKEN": "open sesame", "TZ": "UTC"}, print)

    assert "TZ=UTC" in seen.read_text()
    assert "sesame" not in seen.read_text()


def test_prometheus_is_looked_for_before_anything_is_started_and_grafana_with_its_home(tmp_path: Path) -> None:
    (problem,) = Monitors(str(tmp_path)).preflight()
    assert problem.what == "prometheus is not on PATH."
    assert "apt-get install prometheus" in problem.remedy
    (tmp_path / "prometheus").touch(0o755)
    assert Monitors(str(tmp_path)).preflight() == ()

    assert grafana_on(str(tmp_path)) is None
    home = tmp_path / "grafana-12"
    (home / "bin").mkdir(parents=True)
    (home / "bin" / "grafana").touch(0o755)
    assert grafana_on(str(home / "bin")) != (home / "bin" / "grafana", home)
    (home / "conf").mkdir()
    (home / "conf" / "defaults.ini").touch()
    assert grafana_on(str(home / "bin")) == (home / "bin" / "grafana", home)


def test_the_local_configuration_scrapes_what_ray_lists_and_itself_as_often_as_the_clusters_does() -> None:
    local = yaml.safe_load(files.scrape_local(Path("/run/x/targets.json"), "127.0.0.1:4711"))

    ray, itself = local["scrape_configs"]
    assert ray["file_sd_configs"][0]["files"] == ["/run/x/targets.json"]
    assert itself["static_configs"] == [{"targets": ["127.0.0.1:4711"]}]
    assert local["rule_files"] == [files.RULES]
    assert local["global"] == yaml.safe_load(files.text("scrape.yml"))["global"]
