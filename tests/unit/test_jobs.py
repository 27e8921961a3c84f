"""The client of the Jobs API against a stand-in that replays what Ray 2.60 really answered."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from fixtures.errors import InfraError
from fixtures.measure.jobs import FinishedJob, JobsClient, Timeouts
from fixtures.measure.packages import Package
from fixtures.system.text import plain
from tests.stand_ins.http_server import answering

DATA = Path(__file__).parents[1] / "data"
HASTE = Timeouts(poll=2e-3, poll_pending=2e-3, settle=2e-3)
"""Looks often and gives up late: no test is to fail because the machine is busy."""
IMPATIENT = replace(HASTE, outage=0.1, pending=0.1)
"""For tests in which patience ends."""
LIMIT = 60.0
TOKEN = "t0ken"

Answer = tuple[int, Any]


def sample(name: str) -> tuple[list[dict[str, Any]], str]:
    """The states that a real job went through, and its log."""
    recorded = json.loads((DATA / f"ray-job-{name}.json").read_text())
    return [state["info"] for state in recorded["timeline"]], recorded["logs"]


@dataclass
class Dashboard:
    """Answers with what a test put in; the last answer of each list is repeated."""

    statuses: list[Answer] = field(default_factory=list)
    logs: list[Answer] = field(default_factory=list)
    submits: list[Answer] = field(default_factory=list)
    stopped: Answer = (200, {"stopped": True})
    asked: list[tuple[str, str]] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    packages: dict[str, bytes] = field(default_factory=dict)
    delay: float = 0.0
    address: str = ""

    def replay(self, infos: list[dict[str, Any]], log: str) -> None:
        self.statuses, self.logs = [(200, info) for info in infos], logs(log)

    def answer(self, method: str, path: str, body: dict[str, Any]) -> Answer:
        self.asked.append((method, path))
        if method == "POST":
            self.bodies.append(body)
        if path.endswith("/stop"):
            self.statuses = [(200, {**sample("stop")[0][-1]})]
            return self.stopped
        if method == "POST":
            return _next(self.submits) if self.submits else (200, {"submission_id": body["submission_id"]})
        return _next(self.logs if path.endswith("/logs") else self.statuses)

    def keep(self, method: str, path: str, sent: bytes) -> Answer:
        """As Ray 2.60: 200 and nothing for a package that is there, 404 for another, and what is put is kept."""
        self.asked.append((method, path))
        if method == "PUT":
            self.packages[path] = sent
        return (200, "") if path in self.packages else (404, "Package gcs://... does not exist")

    def count(self, method: str, end: str) -> int:
        return sum(asked == method and path.endswith(end) for asked, path in self.asked)


def _next(answers: list[Answer]) -> Answer:
    return answers.pop(0) if len(answers) > 1 else answers[0]


@pytest.fixture
def dashboard() -> Iterator[Dashboard]:
    state = Dashboard()

    def answer(call: BaseHTTPRequestHandler) -> tuple[int, bytes]:
        sent = call.rfile.read(int(call.headers.get("Content-Length") or 0))
        if "/packages/" in call.path:
            code, value = state.keep(call.command, call.path, sent)
        else:
            code, value = state.answer(call.command, call.path, json.loads(sent or b"{}"))
        time.sleep(state.delay)
        if call.headers.get("Authorization") != f"Bearer {TOKEN}":
            code, value = 401, "Unauthorized: Missing authentication token"
        return code, (value if isinstance(value, str) else json.dumps(value)).encode()

    with answering(answer) as state.address:
        yield state


@pytest.fixture
def jobs(dashboard: Dashboard) -> Iterator[JobsClient]:
    with JobsClient(dashboard.address, TOKEN, HASTE) as client:
        yield client


@pytest.fixture
def impatient(dashboard: Dashboard) -> Iterator[JobsClient]:
    with JobsClient(dashboard.address, TOKEN, IMPATIENT) as client:
        yield client


def follow(jobs: JobsClient, **options: Any) -> FinishedJob:
    """Follow job j to its end, and forget its lines."""
    return jobs.follow("j", lambda line: None, **{"deadline_seconds": LIMIT, **options})


def logs(*texts: str) -> list[Answer]:
    return [(200, {"logs": text}) for text in texts]


def test_a_jobs_files_are_sent_before_it_unless_the_cluster_has_them(dashboard: Dashboard, jobs: JobsClient) -> None:
    package = Package.of_content(b"a zip")

    for _ in range(2):
        jobs.submit(["python"], package=package)

    assert dashboard.packages == {f"/api/packages/gcs/{package.name}": b"a zip"}
    assert dashboard.count("PUT", ".zip") == 1
    assert [body["runtime_env"] for body in dashboard.bodies] == [{"working_dir": f"gcs://{package.name}"}] * 2


def test_files_that_cannot_be_sent_are_said_so(dashboard: Dashboard) -> None:
    said = pytest.raises(InfraError, match=r"files could not be sent: .* says: HTTP 401")
    with JobsClient(dashboard.address, "another", HASTE) as jobs, said:
        jobs.submit(["python"], package=Package.of_content(b"a zip"))


def test_a_command_is_quoted_and_has_an_id_of_ours_and_no_cpus_unless_asked(
    dashboard: Dashboard, jobs: JobsClient
) -> None:
    first = jobs.submit(["/a b/python", "-c", "print('x')"])
    second = jobs.submit(["python"], cpus=2, env={"A": "b c"}, resource="wide-2", gpus=1)

    assert first != second
    more = {
        "entrypoint_num_cpus": 2,
        "entrypoint_num_gpus": 1,
        "entrypoint_resources": {"wide-2": 1},
        "runtime_env": {"env_vars": {"A": "b c"}},
    }
    assert dashboard.bodies == [
        {"entrypoint": "'/a b/python' -c 'print('\"'\"'x'\"'\"')'", "submission_id": first},
        {"entrypoint": "python", "submission_id": second, **more},
    ]


def test_a_submission_whose_answer_was_lost_is_not_made_twice(dashboard: Dashboard, jobs: JobsClient) -> None:
    refusal = "ValueError: Job with submission_id {} already exists. Please use a different submission_id."

    class Submits(list[Answer]):
        def pop(self, index: Any = -1) -> Answer:
            first = super().pop(index)
            self[0] = (500, refusal.format(dashboard.bodies[-1]["submission_id"]))
            return first

    dashboard.submits = Submits([(0, ""), (500, "")])

    job = jobs.submit(["python"])

    assert [body["submission_id"] for body in dashboard.bodies] == [job, job]


def test_a_job_is_followed_to_its_end_with_its_complete_log(dashboard: Dashboard, jobs: JobsClient) -> None:
    infos, log = sample("ok")
    dashboard.replay(infos, log)
    lines: list[str] = []

    job = jobs.follow("j", lines.append, deadline_seconds=LIMIT)

    assert job.succeeded
    assert (job.status, job.driver_exit_code, job.error_type) == ("SUCCEEDED", 0, None)
    assert (job.submitted_at, job.ended_at) == (1795425206.583, 1795425222.294)
    assert job.started_at is not None
    assert "\x1b" in log
    assert "\x1b" not in job.log
    assert (job.log, lines) == (plain(log), plain(log).splitlines())
    dashboard.replay(*sample("fail"))
    failed = follow(jobs)
    assert (failed.succeeded, failed.driver_exit_code) == (False, 3)
    assert failed.error_type == "JOB_ENTRYPOINT_COMMAND_ERROR"
    assert failed.message.startswith("Job entrypoint command failed with exit code 3")


def test_each_line_comes_once_and_only_when_it_is_complete(dashboard: Dashboard, jobs: JobsClient) -> None:
    infos, _ = sample("ok")
    dashboard.statuses = [(200, infos[1])] * 4 + [(200, infos[2])]
    dashboard.logs = logs("one\ntw", "one\ntwo\n", "one\n", "one\ntwo\nthree", "one\ntwo\nthree\nend")
    lines: list[tuple[int, str]] = []

    jobs.follow("j", lambda line: lines.append((dashboard.count("GET", "/logs"), line)), deadline_seconds=LIMIT)

    assert [line for _, line in lines] == ["one", "two", "three", "end"]
    assert [reading for reading, _ in lines[:2]] == [1, 2]


@pytest.mark.parametrize(("marker", "readings"), [("", 5), ("RESULT", 4)])
def test_the_log_of_an_ended_job_is_read_until_it_stands_still_or_has_its_marker_line(
    dashboard: Dashboard, jobs: JobsClient, marker: str, readings: int
) -> None:
    dashboard.statuses = [(200, sample("ok")[0][-1])]
    dashboard.logs = logs("", "a\n", "a\nRESULT 1", "a\nRESULT 1\n")

    assert follow(jobs, marker=marker).log == "a\nRESULT 1\n"
    assert dashboard.count("GET", "/logs") == readings


@pytest.mark.parametrize("trouble", [(500, "Traceback: agent is busy"), (0, ""), (200, "no json"), (200, [])])
def test_a_short_outage_changes_nothing(dashboard: Dashboard, jobs: JobsClient, trouble: Answer) -> None:
    dashboard.replay(*sample("ok"))
    dashboard.statuses[2:2] = [trouble] * 3
    dashboard.logs.insert(0, trouble)

    assert follow(jobs).succeeded


def test_a_long_outage_is_the_clusters_failure(dashboard: Dashboard, impatient: JobsClient) -> None:
    infos, _ = sample("ok")
    dashboard.statuses = [(200, infos[1]), (0, "")]
    dashboard.logs = logs("epoch 1\n")

    with pytest.raises(InfraError, match=r"Job j was lost.*\n?.*epoch 1") as caught:
        follow(impatient)

    assert "Is the head alive?" in caught.value.remedy


def test_slow_answers_are_cut_off_and_count_as_an_outage(dashboard: Dashboard) -> None:
    dashboard.replay(*sample("ok"))
    dashboard.delay = 0.2

    hurried = replace(IMPATIENT, read=0.1)
    with JobsClient(dashboard.address, TOKEN, hurried) as jobs, pytest.raises(InfraError, match="timed out"):
        follow(jobs)


@pytest.mark.parametrize(
    ("answer", "remedy"),
    [
        ((401, "Unauthorized"), "token is not this cluster's"),
        ((403, "Forbidden"), "token is not this cluster's"),
        ((404, "Job j does not exist"), "died or was restarted"),
    ],
)
def test_a_refusal_ends_the_wait_at_once(dashboard: Dashboard, jobs: JobsClient, answer: Answer, remedy: str) -> None:
    dashboard.statuses = [(200, sample("ok")[0][1]), answer]
    dashboard.logs = logs("")

    with pytest.raises(InfraError, match=f"HTTP {answer[0]}") as caught:
        follow(jobs)

    assert remedy in caught.value.remedy


def test_the_token_is_checked_at_submission_and_proxies_of_the_user_are_ignored(
    dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    with JobsClient(dashboard.address, TOKEN, HASTE) as jobs:
        assert jobs.submit(["python"])
    with JobsClient(dashboard.address, "another", HASTE) as jobs, pytest.raises(InfraError, match="HTTP 401"):
        jobs.submit(["python"])


@pytest.mark.parametrize(
    ("state", "seconds", "cause"),
    [
        (sample("ok")[0][0], LIMIT, r"Job j did not start within 0.1 s: Job has not started yet"),
        (sample("stop")[0][1], 0.1, r"Job j did not end within its deadline of 0.1 s(.|\n)*epoch 2"),
    ],
    ids=["it never starts", "it never ends"],
)
def test_a_job_over_its_deadline_is_stopped_and_its_last_lines_are_shown(
    dashboard: Dashboard, impatient: JobsClient, state: dict[str, Any], seconds: float, cause: str
) -> None:
    dashboard.statuses, dashboard.logs = [(200, state)], logs("epoch 1\nepoch 2\n")

    with pytest.raises(InfraError, match=cause):
        follow(impatient, deadline_seconds=seconds)

    assert dashboard.count("POST", "/stop") == 1


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit, pytest.exit.Exception, pytest.fail.Exception])
def test_an_interrupted_wait_stops_the_job(
    dashboard: Dashboard, jobs: JobsClient, interruption: type[BaseException]
) -> None:
    dashboard.statuses = [(200, sample("stop")[0][1])]
    dashboard.logs = logs("line\n")

    def interrupt(line: str) -> None:
        raise interruption

    with pytest.raises(interruption):
        jobs.follow("j", interrupt, deadline_seconds=LIMIT)
    assert dashboard.count("POST", "/stop") == 1


@pytest.mark.parametrize("read", [JobsClient.status, JobsClient.logs])
@pytest.mark.parametrize("answer", [(500, "Traceback"), (200, "<html>"), (200, "[" * 100_000)], ids=lambda a: a[1][:9])
def test_a_single_reading_that_fails_is_an_error(
    dashboard: Dashboard, jobs: JobsClient, read: Callable[..., object], answer: Answer
) -> None:
    dashboard.statuses = dashboard.logs = [answer]

    with pytest.raises(InfraError, match="of job j cannot be read"):
        read(jobs, "j")


@pytest.mark.parametrize(
    ("elapsed", "expected", "seconds"),
    [
        pytest.param(3.0, None, 2.0, id="nobody knows how long it takes"),
        pytest.param(3.0, 9.0, 2.0, id="its end is far off"),
        pytest.param(8.0, 9.0, 1.0, id="the next look is at its end"),
        pytest.param(8.9, 9.0, 0.25, id="its end is near"),
        pytest.param(9.5, 9.0, 0.25, id="it is late"),
        pytest.param(11.5, 9.0, 2.0, id="it is another job than was expected"),
    ],
)
def test_a_job_is_looked_at_closely_only_around_its_expected_end(
    elapsed: float, expected: float | None, seconds: float
) -> None:
    assert Timeouts().until_next_look(elapsed, expected) == pytest.approx(seconds)


def test_jobs_of_ours_that_an_earlier_run_left_are_stopped_and_removed_and_other_jobs_are_not(
    dashboard: Dashboard, jobs: JobsClient
) -> None:
    ours, done, other = f"job-{'a' * 16}", f"job-{'b' * 16}", "raysubmit_bex7QJQ2GirTzAHC"
    states = {ours: "RUNNING", done: "SUCCEEDED", other: "RUNNING"}
    dashboard.statuses = [(200, [{"submission_id": job, "status": state} for job, state in states.items()])]
    said: list[str] = []

    jobs.end_earlier(said.append)

    assert said == [f"stopped and removed {ours}, which an earlier run had left running"]
    changed = [asked for asked in dashboard.asked if asked[0] != "GET"]
    assert changed == [("POST", f"/api/jobs/{ours}/stop"), ("DELETE", f"/api/jobs/{ours}")]
