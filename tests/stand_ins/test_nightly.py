"""The nightly workflow's steps: what is retried, what the summary says, and issues that follow the verdicts."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from fixtures.analysis.judgement import Finding, Judgement
from fixtures.analysis.measurement import Failure
from fixtures.analysis.summary import summarise
from fixtures.cli.nightly import AUTHOR, MEASUREMENT, Action, Issue, annotation, job_code, main, plan, run, summary
from fixtures.history.regression import with_history
from fixtures.report.results import make_result_files
from tests.unit import trials
from tests.unit.samples import SPEEDUP
from tests.unit.trials import SPREAD, timing_round

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
TOKEN = "not-a-real-token"


def results(seconds: float = 5.5, *findings: Finding, injected: float = 0.0, lost: bool = False) -> dict[str, Any]:
    """comparison.json of a run whose two workers took so long; the baseline took 10 s."""
    rounds = [timing_round(number, 10.0, seconds + number / 100, 10.4) for number in (1, 2, 3)]
    failures = (Failure("run", "Infra", "Node worker-2 is gone.", ""),) if lost else ()
    summarised = summarise(trials.run(*rounds, failures=failures), SPREAD)
    judged = with_history(summarised, Judgement(20, findings, ("A note.",)))
    return {**make_result_files(judged)["comparison.json"], "injected_slowdown": injected}


DROP = Finding(SPEEDUP, "drop", "The speedup of 2 workers is 12.0% below its reference.", -0.12, "bad", "good")
GONE = Finding(SPEEDUP._replace(workers=4), "vanished", "The speedup of 4 workers vanished.")


# The run


@pytest.mark.parametrize(
    ("codes", "end"), [([0], 0), ([1], 1), ([10], 10), ([11, 0], 0), ([11, 1], 1), ([11, 11], 11), ([2], 2)]
)
def test_only_a_failure_of_the_infrastructure_is_retried_and_only_once(codes: list[int], end: int) -> None:
    started: list[Sequence[str]] = []

    def start(command: Sequence[str]) -> int:
        started.append(command)
        return codes[len(started) - 1]

    assert run(["--workers=2,4", "--regression"], start) == end
    assert len(started) == len(codes)
    assert started[0][1:] == ["-m", "pytest", "-m", "e2e", "--workers=2,4", "--regression"]


# The colour of the job


@pytest.mark.parametrize(
    ("code", "end"), [(0, 0), (1, 1), (10, 0), (11, 0), (2, 2), (3, 3), (4, 4), (5, 5), (124, 124), (-9, -9)]
)
def test_the_job_is_red_for_a_regression_or_without_a_verdict_and_for_nothing_else(code: int, end: int) -> None:
    assert job_code(code) == end


@pytest.mark.parametrize(
    ("code", "measured", "said"),
    [
        pytest.param(0, results(5.5), "", id="a pass says nothing"),
        pytest.param(1, results(8.0), "::error title=nightly REGRESSION::2 workers are 1.25x", id="a regression"),
        pytest.param(10, results(6.667), "::warning title=nightly INCONCLUSIVE::2 workers are", id="inconclusive"),
        pytest.param(11, results(lost=True), "::warning title=nightly INFRA::Node worker-2 is gone.", id="infra"),
        pytest.param(11, None, "::warning title=nightly INFRA::pytest ended with exit code 11.", id="no results"),
        pytest.param(1, results(5.5), "::error title=nightly REGRESSION::pytest ended with", id="results of before"),
        pytest.param(4, None, "::error title=nightly no verdict::pytest ended with exit code 4.", id="refused"),
    ],
)
def test_what_is_not_a_pass_is_an_annotation_of_one_line(
    code: int, measured: Mapping[str, Any] | None, said: str
) -> None:
    told = annotation(code, measured)

    assert told.startswith(said)
    assert bool(told) is bool(said)
    assert not re.search(r"\n|\r|%(?!25|0A|0D)", told)


# The summary


def test_the_summary_has_the_verdict_the_figures_and_what_the_history_says() -> None:
    said = summary(results(5.5, DROP))

    assert said.startswith("## REGRESSION\n\nThe speedup of 2 workers is 12.0% below its reference.")
    assert "| 2 | REGRESSION | 1.81x | 1.80 to 1.82 | 1.92x | 3 |" in said
    assert "- **drop**: The speedup of 2 workers" in said
    assert "- A note." in said


def test_the_summary_of_a_run_that_left_nothing_says_so() -> None:
    assert summary(None).startswith("## No results")


def test_the_summary_of_a_run_with_an_injected_slowdown_says_so() -> None:
    assert "**Injected slowdown of 15.0%.**" in summary(results(injected=0.15))


# Issues


@pytest.mark.parametrize(
    ("measured", "issues", "expected"),
    [
        pytest.param(results(5.5), [], [], id="a pass opens nothing"),
        pytest.param(results(8.0), [], [("open", "2 workers on fake", None)], id="a regression opens"),
        pytest.param(results(8.0), [Issue(7, "2 workers on fake")], [("update", "2 workers on fake", 7)], id="updates"),
        pytest.param(results(5.5), [Issue(7, "2 workers on fake")], [("close", "2 workers on fake", 7)], id="closes"),
        pytest.param(results(6.667), [Issue(7, "2 workers on fake")], [], id="one that cannot tell leaves it"),
        pytest.param(results(5.5), [Issue(7, "2 workers on minikube")], [], id="of another cluster"),
        pytest.param(None, [], [("open", MEASUREMENT, None)], id="nothing compared opens one of its own"),
        pytest.param(None, [Issue(3, MEASUREMENT)], [("update", MEASUREMENT, 3)], id="and again"),
        pytest.param(results(lost=True), [Issue(7, "2 workers on fake")], [("open", MEASUREMENT, None)], id="infra"),
        pytest.param(results(6.667), [Issue(3, MEASUREMENT)], [("close", MEASUREMENT, 3)], id="measured again"),
        pytest.param(results(5.5, GONE), [], "both", id="a benchmark that vanished"),
    ],
)
def test_one_issue_for_each_benchmark_is_opened_updated_and_closed(
    measured: Mapping[str, Any] | None, issues: Sequence[Issue], expected: object
) -> None:
    found = [(each.kind, each.benchmark, each.number) for each in plan(measured, issues, "https://example.org/run")]

    if expected == "both":
        expected = [("open", f"{workers} workers on fake", None) for workers in (2, 4)]
    assert found == expected


@dataclass
class Api:
    """A GitHub that remembers what it was asked."""

    issues: list[dict[str, Any]] = field(default_factory=list)
    asked: list[tuple[str, str, Any]] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    status: int = 200
    url: str = ""


@pytest.fixture
def api() -> Iterator[Api]:
    made = Api()

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            made.asked.append((self.command, self.path, json.loads(self.rfile.read(length) or "null")))
            made.tokens.add(self.headers["Authorization"])
            body = json.dumps(made.issues if self.command == "GET" else {}).encode()
            self.send_response(made.status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PATCH = _answer  # noqa: N815 - the names that the server looks for

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        made.url = f"http://127.0.0.1:{server.server_address[1]}"
        yield made
        server.shutdown()


def issue(number: int, benchmark: str = "2 workers on fake", login: str = AUTHOR, **more: Any) -> dict[str, Any]:
    return {
        "number": number,
        "user": {"login": login},
        "body": f"<!-- benchmark: {benchmark} -->\nREGRESSION: slow.",
        **more,
    }


def environment(api: Api) -> dict[str, str]:
    return {
        "GITHUB_TOKEN": TOKEN,
        "GITHUB_REPOSITORY": "me/it",
        "GITHUB_RUN_ID": "42",
        "GITHUB_API_URL": api.url,
        "GITHUB_SERVER_URL": "https://example.org",
    }


def reports(folder: Path, content: Mapping[str, Any]) -> Path:
    (folder / "reports/results").mkdir(parents=True)
    (folder / "reports/results/comparison.json").write_text(json.dumps(content))
    return folder / "reports"


def follow(folder: Path, api: Api) -> int:
    return main(["--reports", str(folder), "issues"], environment(api))


def test_an_issue_is_opened_with_a_mark_a_label_and_a_link(tmp_path: Path, api: Api) -> None:
    assert follow(reports(tmp_path, results(8.0)), api) == 0

    (method, path, _), (_, _, body) = api.asked
    assert (method, path) == ("GET", "/repos/me/it/issues?labels=nightly&state=open&per_page=100")
    assert body["title"] == "Speed regression: 2 workers on fake"
    assert body["labels"] == ["nightly"]
    assert body["body"].startswith("<!-- benchmark: 2 workers on fake -->\nREGRESSION: 2 workers are 1.2")
    assert body["body"].endswith("https://example.org/me/it/actions/runs/42")


def test_an_issue_that_is_open_gets_a_comment_and_one_that_passes_is_closed(tmp_path: Path, api: Api) -> None:
    api.issues = [issue(7)]

    follow(reports(tmp_path / "slow", results(8.0)), api)
    follow(reports(tmp_path / "fast", results(5.5)), api)

    assert [(method, path) for method, path, _ in api.asked if method != "GET"] == [
        ("POST", "/repos/me/it/issues/7/comments"),
        ("POST", "/repos/me/it/issues/7/comments"),
        ("PATCH", "/repos/me/it/issues/7"),
    ]


def test_issues_and_pull_requests_of_others_are_never_touched(tmp_path: Path, api: Api) -> None:
    api.issues = [issue(7, login="somebody"), issue(8, body=None), issue(9, pull_request={})]

    follow(reports(tmp_path, results(5.5)), api)

    assert [method for method, _, _ in api.asked] == ["GET"]


def test_the_token_goes_to_the_api_and_into_no_log(
    tmp_path: Path, api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    api.status = 403
    code = follow(reports(tmp_path, results(8.0)), api)

    shown = capsys.readouterr()
    assert code == 4
    assert api.tokens == {f"Bearer {TOKEN}"}
    assert TOKEN not in shown.out + shown.err
    assert "403" in shown.err
    assert "issues: write" in shown.err


def test_a_github_that_fails_is_a_warning_and_turns_nothing_red(
    tmp_path: Path, api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    api.status = 503

    assert follow(reports(tmp_path, results(8.0)), api) == 0
    assert capsys.readouterr().out.startswith("::warning title=nightly issues::GET http")


def test_a_run_with_an_injected_slowdown_touches_no_issue(tmp_path: Path, api: Api) -> None:
    assert follow(reports(tmp_path, results(8.0, injected=0.15)), api) == 0
    assert api.asked == []


def test_a_run_without_results_opens_an_issue_that_says_so(tmp_path: Path, api: Api) -> None:
    assert follow(tmp_path / "nothing", api) == 0

    _, (_, _, body) = api.asked
    assert body["title"] == "The nightly measured nothing"
    assert body["body"].startswith(f"<!-- benchmark: {MEASUREMENT} -->\nThe run ended before")


def test_without_the_workflows_environment_nothing_is_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--reports", str(tmp_path), "issues"], {}) == 4
    assert "GITHUB_TOKEN, GITHUB_REPOSITORY, GITHUB_RUN_ID is not set" in capsys.readouterr().err


def test_opening_is_told_from_updating_by_the_number_alone() -> None:
    (action,) = plan(results(8.0), [Issue(3, "2 workers on fake")], "link")

    assert action == Action("update", "2 workers on fake", 3, action.text)
    assert action.text.endswith("\n\nlink")


# The steps as make runs them


def make(folder: Path, target: str, environ: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """A target as the workflow runs it, on this Python instead of an installed .venv, in a folder with reports."""
    venv = str(Path(sys.executable).parents[1])
    command = ["make", "--silent", "-f", str(ROOT / "Makefile"), f"VENV={venv}", "-o", f"{venv}/.installed", target]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": f"{ROOT}:{ROOT / 'image'}", **environ}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_the_summary_and_the_issues_are_make_targets(tmp_path: Path, api: Api) -> None:
    reports(tmp_path, results(8.0))

    said = make(tmp_path, "nightly-summary", {})
    followed = make(tmp_path, "nightly-issues", environment(api))

    assert said.stdout.startswith("## REGRESSION"), said.stderr
    assert followed.stdout == "open: 2 workers on fake\n", followed.stderr
    assert [method for method, _, _ in api.asked] == ["GET", "POST"]


def test_the_measurement_is_a_make_target_that_is_red_without_a_verdict() -> None:
    refused = make(ROOT, "nightly", {"NIGHTLY": "--workers=none -p no:cacheprovider"})

    assert refused.returncode != 0
    assert "--workers='none': expected counts" in refused.stderr + refused.stdout
    assert "::error title=nightly no verdict::pytest ended with exit code 4." in refused.stdout


@pytest.mark.parametrize(("code", "end"), [(0, 0), (1, 2), (10, 0), (11, 0)])
def test_the_make_target_is_red_for_a_regression_alone(tmp_path: Path, code: int, end: int) -> None:
    (tmp_path / "test_it.py").write_text(f"import os\nimport pytest\n@pytest.mark.e2e\ndef test_it(): os._exit({code})")
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = e2e: measured")

    assert make(tmp_path, "nightly", {"NIGHTLY": "-p no:cacheprovider"}).returncode == end
