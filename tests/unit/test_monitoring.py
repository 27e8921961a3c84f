"""Asking Prometheus, the snapshot of a run, the exporter's job: what is missing is told, and costs no measurement."""

import json
from collections.abc import Sequence
from contextlib import suppress
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
from fixtures.measure.jobs import JobsClient
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


def test_a_series_has_its_labels_and_its_points_in_order() -> None:
    played = Played([{"metric": {"rank": "0"}, "values": [[1.5, "2"], [6.5, "NaN"], [11.5, "3e2"]]}])

    (found,) = Prometheus(played).range("up", 1.5, 11.5, 5)

    assert found.labels == {"rank": "0"}
    assert found.points[0] == (1.5, 2.0)
    assert found.points[2] == (11.5, 300.0)
    assert played.asked == [("/api/v1/query_range", {"query": "up", "start": "1.500", "end": "11.500", "step": "5"})]


def test_a_scalar_is_a_series_without_labels() -> None:
    answer = {"status": "success", "data": {"resultType": "scalar", "result": [1.0, "1"]}}

    assert Prometheus(lambda _: answer).query("1") == (Series({}, ((1.0, 1.0),)),)


@pytest.mark.parametrize("answer", [{"status": "error", "error": "parse error"}, [], None, "x"])
def test_an_answer_that_is_no_success_names_the_question_and_what_was_said(answer: Any) -> None:
    with pytest.raises(InfraError, match=r"Prometheus does not answer query \{'query': 'up'\}: ") as failed:
        Prometheus(lambda _: answer).query("up")
    assert not isinstance(answer, dict) or "parse error" in failed.value.cause


def test_nobody_who_answers_is_told_with_the_address() -> None:
    with pytest.raises(InfraError, match=r"Prometheus at http://127\.0\.0\.1:9 does not answer: "):
        Prometheus(over_http("http://127.0.0.1:9", (0.5, 0.5))).query("up")


def test_every_trial_is_asked_for_by_its_label_and_its_time() -> None:
    played = Played([{"metric": {"rank": "1"}, "values": [[1.0, "2"]]}])

    found = snapshot.take(Prometheus(played), RUN.measurements, FakeClock(9e9))

    trials = [trial_name(each.spec, each.round) for each in RUN.measurements]
    assert trials[:2] == ["accuracy, baseline", "accuracy, 2 workers"]
    assert trials[2:] == ["round 1, baseline", "round 1, 2 workers", "round 2, baseline", "round 2, 2 workers"]
    ranges = [given for path, given in played.asked if path.endswith("query_range")]
    assert len(found) == len(ranges) == len(trials) * len(snapshot.FIGURES)
    first = RUN.measurements[0]
    assert 'trial="accuracy, baseline"' in ranges[0]["query"]
    assert float(ranges[0]["start"]) == pytest.approx(first.submitted_at, abs=1e-3)
    assert {(each.round, each.name, each.of) for each in found} >= {
        (1, "baseline", "rank 1"),
        (2, "2 workers", "rank 1"),
    }


def test_figures_without_a_trial_s_label_end_with_the_trial() -> None:
    played = Played()
    snapshot.take(Prometheus(played), RUN.measurements[:1], FakeClock(9e9))

    for path, given in played.asked:
        if path.endswith("query_range"):
            late = float(given["end"]) - RUN.measurements[0].ended_at
            assert late == pytest.approx(snapshot.LATE_SECONDS if "trial=" in given["query"] else 0.0, abs=2e-3)


def test_the_last_trial_s_end_is_waited_for_and_not_for_ever() -> None:
    clock = FakeClock(RUN.measurements[-1].ended_at)
    snapshot.take(Prometheus(Played(ended_after=3)), RUN.measurements, clock)
    assert len(clock.slept) == 3

    never = Played(ended_after=1000)
    snapshot.take(Prometheus(never), RUN.measurements, FakeClock(RUN.measurements[-1].ended_at))
    assert sum(path.endswith("/query") for path, _ in never.asked) <= snapshot.LATE_SECONDS + 1


def test_a_prometheus_that_is_gone_leaves_the_run_as_it_was_and_is_told() -> None:
    said: list[str] = []

    def gone(_: str) -> Any:
        raise InfraError("Prometheus is gone.")

    assert Monitor("", Prometheus(gone), said.append).with_series(RUN) == RUN
    assert said == ["no time series in the report: Prometheus is gone."]


def test_without_monitoring_nobody_is_asked_and_no_job_is_submitted() -> None:
    class Untouched:
        def __getattr__(self, name: str) -> Any:
            raise AssertionError(name)

    untouched: Any = Untouched()
    with monitored(cluster(None), untouched, lambda _: None) as found:
        assert found.address == ""
        assert found.with_series(RUN) is RUN


def cluster(prometheus: Prometheus | None) -> Cluster:
    return Cluster("http://x", "token", (), {}, "python", "data", 2, 0, prometheus=prometheus)


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


def played(exporter: Exporter) -> JobsClient:
    found: Any = exporter
    return found  # type: ignore[no-any-return]


def test_trials_are_told_where_the_exporter_listens_and_it_is_stopped_whatever_happens() -> None:
    exporter = Exporter("2026 INFO ray\nEXPORTER-READY 10.244.0.3:41234\n")

    with suppress(KeyboardInterrupt), monitored(cluster(Prometheus(Played())), played(exporter), print) as found:
        assert found.address == "10.244.0.3:41234"
        raise KeyboardInterrupt
    assert exporter.stopped == ["job-1"]


def test_an_exporter_that_fails_is_told_and_the_run_goes_on() -> None:
    exporter = Exporter("No module named trainer.exporter", "FAILED")
    said: list[str] = []

    with monitored(cluster(Prometheus(Played())), played(exporter), said.append) as found:
        assert found.address == ""
    assert said == [
        "the trials' own figures are not exported: the exporter ended FAILED: No module named trainer.exporter "
        "(see TROUBLESHOOTING: monitoring-not-started)"
    ]


def test_an_exporter_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor, "EXPORTER_SECONDS", 0.0)
    said: list[str] = []

    with monitored(cluster(Prometheus(Played())), played(Exporter("")), said.append):
        pass
    assert "did not start within 0 s: it is RUNNING" in said[0]


def test_a_lease_brings_the_monitors_back_without_telling_the_password() -> None:
    watching = Watching("http://127.0.0.1:1", "http://127.0.0.1:2", "open sesame")
    extra = json.loads(json.dumps({"monitoring": watching.to_lease()}))

    assert Watching.of_lease(extra) == watching
    assert Watching.of_lease({}) is None
    assert "sesame" not in repr(watching)
    assert [(each.name, each.user) for each in watching.dashboards()] == [("Grafana", "admin"), ("Prometheus", "")]
    assert "sesame" not in repr(watching.dashboards())


def test_ray_looks_for_no_grafana_where_there_is_none() -> None:
    assert Watching("http://127.0.0.1:1").environment()["RAY_GRAFANA_HOST"] == "DISABLED"
    found = Watching("http://127.0.0.1:1", "http://127.0.0.1:2").environment()
    assert found["RAY_GRAFANA_HOST"] == found["RAY_GRAFANA_IFRAME_HOST"] == "http://127.0.0.1:2"
    assert found["DASHBOARD_METRIC_PORT"] != "0", "Ray would list port 0 as a target"


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


def test_no_prometheus_on_path_is_a_problem_before_anything_is_started(tmp_path: Path) -> None:
    (problem,) = Monitors(str(tmp_path)).preflight()

    assert problem.what == "prometheus is not on PATH."
    assert "apt-get install prometheus" in problem.remedy
    program = tmp_path / "prometheus"
    program.touch(0o755)
    assert Monitors(str(tmp_path)).preflight() == ()


def test_grafana_is_found_with_its_home(tmp_path: Path) -> None:
    assert grafana_on(str(tmp_path)) is None
    home = tmp_path / "grafana-12"
    (home / "bin").mkdir(parents=True)
    (home / "bin" / "grafana").touch(0o755)
    assert grafana_on(str(home / "bin")) is None or grafana_on(str(home / "bin")) != (home / "bin" / "grafana", home)
    (home / "conf").mkdir()
    (home / "conf" / "defaults.ini").touch()
    assert grafana_on(str(home / "bin")) == (home / "bin" / "grafana", home)


def test_the_local_configuration_scrapes_what_ray_lists_and_itself() -> None:
    found = yaml.safe_load(files.scrape_local(Path("/run/x/targets.json"), "127.0.0.1:4711"))

    ray, itself = found["scrape_configs"]
    assert ray["file_sd_configs"][0]["files"] == ["/run/x/targets.json"]
    assert itself["static_configs"] == [{"targets": ["127.0.0.1:4711"]}]
    assert found["rule_files"] == [files.RULES]


def test_both_configurations_scrape_and_judge_equally_often() -> None:
    assert (
        yaml.safe_load(files.text("scrape.yml"))["global"] == yaml.safe_load(files.text("scrape-local.yml"))["global"]
    )
