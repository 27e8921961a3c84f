"""The nightly commands: the retry, the exit code, the summary, and the issues."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from fixtures.analysis.judgement import Finding, Judgement
from fixtures.analysis.measurement import Failure
from fixtures.analysis.summary import summarise
from fixtures.cli.nightly import (
    AUTHOR,
    MEASUREMENT,
    Issue,
    Results,
    annotate,
    main,
    plan,
    read_results,
    run,
    to_job_code,
)
from fixtures.history.regression import with_history
from fixtures.report.results import make_result_files
from tests.stand_ins.http_server import answering
from tests.unit import trials
from tests.unit.samples import SPEEDUP
from tests.unit.trials import SPREAD, timing_round

ROOT = Path(__file__).parents[2]
TOKEN = "not-a-real-token"
ON_GITHUB = {"GITHUB_ACTIONS": "true"}


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

    assert (run(["--workers=2,4", "--regression"], start), len(started)) == (end, len(codes))
    assert started[0][1:] == ["-m", "pytest", "-m", "e2e", "--workers=2,4", "--regression"]


# The colour of the job


@pytest.mark.parametrize(
    ("code", "end"), [(0, 0), (1, 1), (10, 0), (11, 0), (2, 2), (3, 3), (4, 4), (5, 5), (124, 124), (-9, -9)]
)
def test_the_job_is_red_for_a_regression_or_without_a_verdict_and_for_nothing_else(code: int, end: int) -> None:
    assert to_job_code(code) == end


@pytest.mark.parametrize(
    ("code", "measured", "level", "line"),
    [
        pytest.param(1, results(8.0), "error", "REGRESSION: 2 workers are 1.25x", id="a regression"),
        pytest.param(10, results(6.667), "warning", "INCONCLUSIVE: 2 workers are", id="inconclusive"),
        pytest.param(11, results(lost=True), "warning", "INFRA: Node worker-2 is gone.", id="infra"),
        pytest.param(11, None, "warning", "INFRA: pytest ended with exit code 11.", id="no results"),
        pytest.param(1, results(5.5), "error", "REGRESSION: pytest ended with", id="results of before"),
        pytest.param(4, None, "error", "no verdict: pytest ended with exit code 4.", id="refused"),
    ],
)
def test_what_is_not_a_pass_is_one_line_and_a_workflow_command_only_on_github(
    tmp_path: Path, code: int, measured: Mapping[str, Any] | None, level: str, line: str
) -> None:
    read = read_again(tmp_path, measured)
    plain, command = annotate(code, read, {}), annotate(code, read, ON_GITHUB)

    assert plain.startswith(f"nightly {line}")
    assert "\n" not in plain
    assert command.startswith(f"::{level} title=nightly {line.replace(': ', '::', 1)}")
    assert not re.search(r"\n|\r|%(?!25|0A|0D)", command)


@pytest.mark.parametrize("environ", [{}, ON_GITHUB])
def test_a_pass_says_nothing(tmp_path: Path, environ: Mapping[str, str]) -> None:
    assert annotate(0, read_again(tmp_path, results(5.5)), environ) == ""


# Issues

TWO, FOUR = "2 workers on fake", "4 workers on fake"


@pytest.mark.parametrize(
    ("measured", "issues", "expected"),
    [
        pytest.param(results(5.5), [], [], id="a pass opens nothing"),
        pytest.param(results(8.0), [], [("open", TWO, None)], id="a regression opens"),
        pytest.param(results(8.0), [Issue(7, TWO)], [("update", TWO, 7)], id="updates"),
        pytest.param(results(5.5), [Issue(7, TWO)], [("close", TWO, 7)], id="closes"),
        pytest.param(results(6.667), [Issue(7, TWO)], [], id="one that cannot tell leaves it"),
        pytest.param(results(5.5), [Issue(7, "2 workers on minikube")], [], id="of another cluster"),
        pytest.param(None, [], [("open", MEASUREMENT, None)], id="nothing compared opens one of its own"),
        pytest.param(None, [Issue(3, MEASUREMENT)], [("update", MEASUREMENT, 3)], id="and again"),
        pytest.param(results(lost=True), [Issue(7, TWO)], [("open", MEASUREMENT, None)], id="infra"),
        pytest.param(results(6.667), [Issue(3, MEASUREMENT)], [("close", MEASUREMENT, 3)], id="measured again"),
        pytest.param(results(5.5, GONE), [], [("open", TWO, None), ("open", FOUR, None)], id="one that vanished"),
    ],
)
def test_one_issue_for_each_benchmark_is_opened_updated_and_closed(
    tmp_path: Path, measured: Mapping[str, Any] | None, issues: Sequence[Issue], expected: object
) -> None:
    actions = plan(read_again(tmp_path, measured), issues, "https://example.org/run")

    assert all(action.text.endswith("\n\nhttps://example.org/run") for action in actions)
    assert [(action.kind, action.benchmark, action.number) for action in actions] == expected


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

    def answer(call: BaseHTTPRequestHandler) -> tuple[int, bytes]:
        length = int(call.headers.get("Content-Length", 0))
        made.asked.append((call.command, call.path, json.loads(call.rfile.read(length) or "null")))
        made.tokens.add(call.headers["Authorization"])
        return made.status, json.dumps(made.issues if call.command == "GET" else {}).encode()

    with answering(answer) as made.url:
        yield made


def issue(number: int, login: str = AUTHOR, **more: Any) -> dict[str, Any]:
    body = "<!-- benchmark: 2 workers on fake -->\nREGRESSION: slow."
    return {"number": number, "user": {"login": login}, "body": body, **more}


def environment(api: Api) -> dict[str, str]:
    run = {"GITHUB_TOKEN": TOKEN, "GITHUB_REPOSITORY": "me/it", "GITHUB_RUN_ID": "42"}
    return {**ON_GITHUB, **run, "GITHUB_API_URL": api.url, "GITHUB_SERVER_URL": "https://example.org"}


def reports(folder: Path, content: Mapping[str, Any]) -> Path:
    (folder / "reports/results").mkdir(parents=True)
    (folder / "reports/results/comparison.json").write_text(json.dumps(content))
    (folder / "reports/summary.md").write_text("## REGRESSION\n")
    return folder / "reports"


def read_again(folder: Path, content: Mapping[str, Any] | None) -> Results | None:
    """Return what is read of a run's reports; None of one that left none."""
    return None if content is None else read_results(reports(folder, content))


def follow(folder: Path, api: Api) -> int:
    """Run `issues`, and return its exit code."""
    return main(["--reports", str(folder), "issues"], environment(api))


COMMENT = "POST /repos/me/it/issues/7/comments"


@pytest.mark.parametrize(
    ("measured", "issues", "requests"),
    [
        pytest.param(results(8.0), [issue(7)], [COMMENT], id="an open issue gets a comment"),
        pytest.param(results(5.5), [issue(7)], [COMMENT, "PATCH /repos/me/it/issues/7"], id="a pass closes it"),
        pytest.param(results(5.5), [issue(7, login="somebody")], [], id="somebody else's"),
        pytest.param(results(5.5), [issue(7, body=None)], [], id="without a mark"),
        pytest.param(results(5.5), [issue(7, pull_request={})], [], id="a pull request"),
    ],
)
def test_only_open_issues_of_ours_are_touched(
    tmp_path: Path, api: Api, measured: Mapping[str, Any], issues: list[dict[str, Any]], requests: list[str]
) -> None:
    api.issues = issues

    follow(reports(tmp_path, measured), api)

    assert [f"{method} {path}" for method, path, _ in api.asked[1:]] == requests


def test_the_token_goes_to_the_api_and_into_no_log(
    tmp_path: Path, api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    api.status = 403
    code = follow(reports(tmp_path, results(8.0)), api)

    output = capsys.readouterr()
    assert code == 4
    assert api.tokens == {f"Bearer {TOKEN}"}
    assert TOKEN not in output.out + output.err
    assert re.search("403.*issues: write", output.err, re.DOTALL)


def test_a_github_that_fails_is_a_warning_and_turns_nothing_red(
    tmp_path: Path, api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    api.status = 503

    assert follow(reports(tmp_path, results(8.0)), api) == 0
    assert capsys.readouterr().out.startswith("::warning title=nightly issues::GET http")


def test_a_github_that_answers_something_else_is_a_warning(
    tmp_path: Path, api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    api.issues = [{"message": "no issue"}]

    assert follow(reports(tmp_path, results(8.0)), api) == 0
    assert "no list of issues: " in capsys.readouterr().out


def test_a_run_with_an_injected_slowdown_touches_no_issue(tmp_path: Path, api: Api) -> None:
    assert follow(reports(tmp_path, results(8.0, injected=0.15)), api) == 0
    assert api.asked == []


@pytest.mark.parametrize(
    ("measured", "title", "begin", "end"),
    [
        (
            results(8.0),
            "Speed regression: 2 workers on fake",
            f"<!-- benchmark: {TWO} -->\nREGRESSION: 2 workers are 1.2",
            "https://example.org/me/it/actions/runs/42",
        ),
        (None, "The nightly measured nothing", f"<!-- benchmark: {MEASUREMENT} -->\nThe run ended before", "/42"),
    ],
    ids=["a regression", "no results"],
)
def test_an_issue_is_opened_with_a_mark_a_label_and_a_link(
    tmp_path: Path, api: Api, measured: Mapping[str, Any] | None, title: str, begin: str, end: str
) -> None:
    assert follow(reports(tmp_path, measured) if measured else tmp_path / "nothing", api) == 0

    (method, path, _), (_, _, body) = api.asked
    assert (method, path) == ("GET", "/repos/me/it/issues?labels=nightly&state=open&per_page=100")
    assert (body["title"], body["labels"]) == (title, ["nightly"])
    assert body["body"].startswith(begin)
    assert body["body"].endswith(end)


def test_without_the_workflows_environment_nothing_is_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--reports", str(tmp_path), "issues"], {}) == 4
    assert "GITHUB_TOKEN, GITHUB_REPOSITORY, GITHUB_RUN_ID is not set" in capsys.readouterr().err


def test_a_night_that_left_no_summary_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--reports", str(tmp_path), "summary"], {}) == 0
    assert capsys.readouterr().out.startswith("## No results")


# The steps as make runs them


def make(folder: Path, target: str, environ: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """A target as the workflow runs it, on this Python instead of an installed .venv, in a folder with reports."""
    venv = str(Path(sys.executable).parents[1])
    command = ["make", "--silent", "-f", str(ROOT / "Makefile"), f"VENV={venv}", "-o", f"{venv}/.installed", target]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": f"{ROOT}:{ROOT / 'image'}", **environ}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_the_summary_and_the_issues_are_make_targets(tmp_path: Path, api: Api) -> None:
    reports(tmp_path, results(8.0))

    summary = make(tmp_path, "nightly-summary", {})
    issues = make(tmp_path, "nightly-issues", environment(api))

    assert summary.stdout == "## REGRESSION\n", summary.stderr
    assert issues.stdout == "open: 2 workers on fake\n", issues.stderr
    assert [method for method, _, _ in api.asked] == ["GET", "POST"]


def test_the_measurement_is_a_make_target_that_is_red_without_a_verdict() -> None:
    refused = make(ROOT, "nightly", {"NIGHTLY": "--workers=none -p no:cacheprovider", **ON_GITHUB})

    assert refused.returncode != 0
    assert "--workers='none': expected counts" in refused.stderr + refused.stdout
    assert "::error title=nightly no verdict::pytest ended with exit code 4." in refused.stdout


@pytest.mark.parametrize(("code", "end"), [(0, 0), (1, 2), (10, 0), (11, 0)])
def test_the_make_target_is_red_for_a_regression_alone(tmp_path: Path, code: int, end: int) -> None:
    (tmp_path / "test_it.py").write_text(f"import os\nimport pytest\n@pytest.mark.e2e\ndef test_it(): os._exit({code})")
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = e2e: measured")

    done = make(tmp_path, "nightly", {"NIGHTLY": "-p no:cacheprovider"})

    assert done.returncode == end
    assert not re.search("::(warning|error)", done.stdout), "a workflow command without GitHub"
    assert bool(re.search("nightly [A-Z]+: pytest ended with", done.stdout)) is (code != 0)
