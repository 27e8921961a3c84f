"""Every error that the code can raise has its entry in docs/TROUBLESHOOTING.md, and no entry is of a message long gone.

An error has its entry when at least three quarters of the words that its message has in the code stand, in their
order, in one piece of `code` in the first column of a table of the page. What only a run knows is left out on both
sides, and the page may shorten a message with an ellipsis.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from tests.unit.messages import ROOT, Message, messages, texts, words

PAGE = ROOT / "docs" / "TROUBLESHOOTING.md"
SHARE = 0.75

PASSED_ON = {
    "fixtures/clusters/contract.py:require_nothing_missing": "the problems of a preflight",
    "fixtures/measure/experiment.py:_explain": "the job's own error",
    "fixtures/measure/experiment.py:trial": "the provider's trouble, or the result line's error",
    "fixtures/cli/doctor.py:_program": "the program's error",
    "fixtures/cli/doctor.py:server": "kubectl's error",
    "fixtures/cli/download.py:_go_on": "a status code: the page has `https://…: HTTP 404`",
    "fixtures/measure/jobs.py:_lost": "the request's error",
    "fixtures/clusters/kubernetes/owned_resources.py:as_one": "several errors as one",
    "fixtures/clusters/kubernetes/image/builders.py:build_failure": "the builder's own words",
    "fixtures/clusters/kubernetes/engines/context.py:preflight": "the kubeconfig's error, or which contexts there are",
    "fixtures/clusters/kubernetes/engines/context.py:stop": "the reason that `stop` gives",
    "fixtures/clusters/kubernetes/engines/context.py:up": "the problems of its preflight",
    "fixtures/clusters/kubernetes/engines/minikube_events.py:failure": "Minikube's own words",
    "fixtures/clusters/kubernetes/engines/owned.py:stop": "the reason that `stop` gives",
    "fixtures/clusters/kubernetes/engines/preflight.py:found_by": "the error of what was asked",
    "fixtures/clusters/kubernetes/provider.py:_require_fit": "the problems of versions.handshake",
    "fixtures/clusters/kubernetes/raycluster/raycluster.py:_wait": "the first finding",
    "fixtures/clusters/kubernetes/raycluster/capacity_check.py:require": "capacity.fits: `2 workers x … need …`",
    "fixtures/clusters/local/provider.py:preflight": "the temporary place's error",
    "fixtures/clusters/local/provider.py:stop": "the reason that `stop` gives",
    "fixtures/analysis/measurement.py:from_json": "the result line's error",
    "fixtures/clusters/local/monitoring.py:_await": "a program's last words: the page has `prometheus ended with …`",
    "fixtures/cli/nightly.py:_send": "the API's own words",
    "fixtures/settings/option.py:one_of": "the words that an option takes: the page has examples",
    "fixtures/settings/option.py:refusal": "what each option expects",
    "fixtures/plugin/options.py:settings_from": "the refusal of an option",
    "fixtures/report/__main__.py:_read": "the file's error",
    "fixtures/plugin/reporting.py:judge": "the verdict's reason",
    "fixtures/settings/settings.py:_parse": "the refusal of an option, with where its value came from",
    "fixtures/analysis/work.py:_probe": "which part of the probe lacks: the page has `… lacks the equivalence probe`",
    "fixtures/analysis/work.py:_same_count": "what a rank did, in words",
}
"""Where a message is made of what is said elsewhere: nothing of it stands in the code but a word."""

OTHERS = (
    "2 deselected", "OutOfMemoryError", "ActorDiedError", "WorkerCrashedError", "Address already in use", "OOMKilled",
    "--keep-cluster", "--cluster-name", "--kubeconfig", "HTTP 401", "HTTP 403", "https://…: HTTP 404",
    "Python 3.10: Python 3.11 to 3.13 is needed", "(environment)", "died", "Job …: … says: …",
    "The token is not this cluster's", "no grafana on PATH", "e2e-grafana", "Grafana healthcheck failed",
    "prometheus ended with …: …", "prometheus did not answer within … s: …",
    "did not connect in time", "here pods request less than they use", ".partial-…",
)  # fmt: skip
"""Words of Ray, Grafana, pytest, Kubernetes, the system and the Makefile; and pieces too short to tell."""


def entries(page: str) -> list[str]:
    """The pieces of code in the first column of the page's tables."""
    cells = [line.split(" | ")[0] for line in page.splitlines() if line.startswith("| ")]
    return [
        piece.strip()
        for cell in cells
        for piece in re.findall(r"``(.+?)``|`([^`]+)`", cell)
        for piece in piece
        if piece
    ]


def covered(message: Sequence[str], entry: Sequence[str]) -> float:
    """The share of a message's words that stand in an entry in their order (longest common subsequence)."""
    if len(set(message) & set(entry)) < SHARE * len(set(message)):
        return 0.0  # most pairs, which need no longer look
    best = [0] * (len(entry) + 1)
    for word in message:
        before = 0
        for at, other in enumerate(entry):
            keep = best[at + 1]
            best[at + 1] = before + 1 if word == other else max(best[at + 1], best[at])
            before = keep
    return best[-1] / len(message)


def lacking(found: Sequence[Message], page: str) -> list[str]:
    """The messages that have no entry."""
    known = [words(each) for each in entries(page)]
    return [
        f"{each.where}: {each.text}"
        for each in found
        if (len(each.words) < 2 and each.where not in PASSED_ON)
        or (len(each.words) >= 2 and max(covered(each.words, entry) for entry in known) < SHARE)
    ]


def test_every_error_has_its_entry() -> None:
    assert lacking(messages(), PAGE.read_text(encoding="utf-8")) == []


def test_a_new_error_without_an_entry_is_found(tmp_path: Path) -> None:
    (tmp_path / "fixtures").mkdir()
    (tmp_path / "fixtures" / "new.py").write_text(
        "def fly(moon):\n"
        "    cause = f'The moon {moon} is ' + ('full' if moon else 'made of green cheese')\n"
        "    raise InfraError(cause, 'Wait.')\n"
        "def pass_on(error):\n"
        "    raise errors.UsageError(error)\n"
        "def know():\n"
        "    raise InfraError(f'{1} is not on PATH.')\n"
    )

    assert lacking(messages(tmp_path), PAGE.read_text(encoding="utf-8")) == [
        "fixtures/new.py:fly: The moon … is full",
        "fixtures/new.py:fly: The moon … is made of green cheese",
        "fixtures/new.py:pass_on: …",
    ]


def test_every_message_that_is_passed_on_is_still_there() -> None:
    assert set(PASSED_ON) == {each.where for each in messages() if len(each.words) < 2}


def test_no_entry_is_of_a_message_that_nothing_says() -> None:
    said = {each for each in map(words, texts()) if len(each) > 1}
    by_word: dict[str, set[tuple[str, ...]]] = {}
    for each in said:
        for word in each:
            by_word.setdefault(word, set()).add(each)
    stale = [
        entry
        for entry in entries(PAGE.read_text(encoding="utf-8"))
        if entry not in OTHERS
        and not any(covered(each, words(entry)) >= SHARE for word in words(entry) for each in by_word.get(word, set()))
    ]

    assert stale == []


def test_every_row_has_a_cause_and_a_remedy() -> None:
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]

    assert [row for row in rows if len([cell for cell in row.split(" | ") if cell.strip(" |")]) != 3] == []
