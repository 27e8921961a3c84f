"""Data from outside, damaged in any way: it is read, or refused in one sentence; nothing else."""

import copy
import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.analysis.measurement import Run
from fixtures.analysis.spread import Spread
from fixtures.analysis.summary import summarise
from fixtures.cli.nightly import annotate, plan, read_results
from fixtures.cli.prerequisites import NOTES, Wish, install
from fixtures.errors import InfraError, MissingResultError
from fixtures.history.entry import Entry
from fixtures.history.gate import judge
from fixtures.history.store import ACCEPTED, History, HistoryView, series
from fixtures.report.history_table import tabulate_history
from fixtures.report.markdown import make_markdown
from fixtures.report.results import make_result_files
from fixtures.report.terminal import comparison_block
from fixtures.system.programs import parse_output
from tests.unit.recorded import recorded_text
from tests.unit.samples import entry, equal_samples
from trainer.reading import BrokenResultError, parse_json, read_json

SPREAD = Spread.load()
RECORDED = json.loads(recorded_text())
COMPARISON = make_result_files(summarise(Run.from_json(recorded_text()), SPREAD))["comparison.json"]
ENTRY = json.loads(json.dumps(entry(counts=(2, 4)).section))
ENTRY["compared"][0] |= {"against_all_cores": 0.98, "against_all_cores_interval": [0.95, 1.01]}
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([-1, 0, 1, 2**62, 10**40, 1e-300, 1e49, -1e49]),
    st.integers(-3, 3),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=5),
)
VALUES = SCALARS | st.lists(SCALARS, max_size=2) | st.dictionaries(st.text(max_size=3), SCALARS, max_size=2)


ACTIONS = st.sampled_from(["replace", "replace", "remove", "repeat"])
DAMAGE = st.tuples(st.lists(st.integers(0, 60), min_size=1, max_size=9), ACTIONS, VALUES)
"""Which item at each depth, as far as it goes, and what is done to the last one."""


def damaged(whole: Any, path: Sequence[int], action: str, value: Any) -> Any:
    """Return a copy in which one value is replaced, removed or there twice."""
    inner = changed = copy.deepcopy(whole)
    for depth, number in enumerate(path):
        keys = sorted(inner) if isinstance(inner, dict) else range(len(inner))
        key = keys[number % len(keys)]
        if depth + 1 == len(path) or not isinstance(inner[key], dict | list) or not inner[key]:
            break
        inner = inner[key]
    if action == "replace":
        inner[key] = value
    elif action == "remove":
        del inner[key]
    elif isinstance(inner, list):
        inner.append(inner[key])
    else:
        inner[f"{key}x"] = inner[key]
    return changed


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, "9" * 5000, "1e999", "-1e60", "NaN", "Infinity", '"\\ud800"', "{", "", '{"a": 1} 2', "0x1"],
    ids=lambda text: text[:12],
)
def test_json_that_nothing_can_be_done_with_is_refused(text: str) -> None:
    with pytest.raises(BrokenResultError):
        parse_json(text)


@settings(max_examples=200, deadline=None)
@given(content=st.binary(max_size=40) | st.text(max_size=40).map(str.encode))
def test_a_file_of_any_bytes_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    file = tmp_path_factory.mktemp("any") / "file.json"
    file.write_bytes(content)

    with suppress(BrokenResultError):
        read_json(file)


def test_a_file_that_is_not_there_or_is_a_folder_is_refused(tmp_path: Path) -> None:
    for file, why in ((tmp_path / "no.json", "No such file"), (tmp_path, "directory")):
        with pytest.raises(BrokenResultError, match=why):
            read_json(file)


@settings(max_examples=150, deadline=None)
@given(DAMAGE)
def test_a_damaged_measurements_file_gives_reports_or_one_error(damage: tuple[list[int], str, Any]) -> None:
    with suppress(MissingResultError):
        summary = summarise(Run.from_json(json.dumps(damaged(RECORDED, *damage))), SPREAD)

        json.dumps(make_result_files(summary), allow_nan=False)
        assert comparison_block(summary)
        assert make_markdown(summary)


@settings(max_examples=150, deadline=None)
@given(DAMAGE)
def test_a_damaged_entry_of_the_history_is_read_or_left_out(damage: tuple[list[int], str, Any]) -> None:
    with suppress(BrokenResultError):
        read = Entry.from_section(parse_json(json.dumps(damaged(ENTRY, *damage))), "0001.json")

        rows = series([read], read.like)
        assert len(rows) == read.complete
        assert tabulate_history(HistoryView(tuple(rows), 0, 0, "", {}))
        judge(equal_samples(), read.sample)


@settings(max_examples=100, deadline=None)
@given(DAMAGE)
def test_damaged_results_tell_the_nightly_what_was_measured_or_nothing(
    tmp_path_factory: pytest.TempPathFactory, damage: tuple[list[int], str, Any]
) -> None:
    file = tmp_path_factory.mktemp("reports") / "results" / "comparison.json"
    file.parent.mkdir()
    file.write_text(json.dumps(damaged(COMPARISON, *damage)))

    results = read_results(file.parents[1])

    assert plan(results, [], "") is not None
    assert annotate(1, results, {})


@settings(max_examples=50, deadline=None)
@given(DAMAGE)
def test_damaged_notes_of_what_was_installed_are_read_or_to_be_removed(
    tmp_path_factory: pytest.TempPathFactory, damage: tuple[list[int], str, Any]
) -> None:
    folder = tmp_path_factory.mktemp("bin")
    (folder / NOTES).write_text(json.dumps(damaged({"0" * 64: "kind 0.30.0 linux/amd64"}, *damage)))

    with suppress(InfraError):
        assert install(Wish((), folder, "linux/amd64"), {}, print) == []


@pytest.mark.parametrize("text", ["", "[" * 100_000, "Cannot connect to the Docker daemon"], ids=lambda text: text[:9])
def test_what_a_program_prints_instead_of_json_is_in_the_error(text: str) -> None:
    with pytest.raises(InfraError, match=r"`docker info` printed no JSON \(not JSON.*\): '.*'\. Run it by hand"):
        parse_output("docker info", text)


def test_an_entry_that_is_nested_too_deeply_costs_nobody_a_report(tmp_path: Path) -> None:
    history = History(tmp_path)
    history.add(entry(1), {})
    (tmp_path / "0002_abc_20261202_020000.json").write_text("[" * 100_000)

    entries, unreadable = history.read()

    assert len(entries) == 1
    assert "nested too deeply" in unreadable[0].why


def test_a_list_of_accepted_levels_that_is_no_text_counts_as_far_as_it_can_be_read(tmp_path: Path) -> None:
    (tmp_path / ACCEPTED).write_bytes(b'{"since": "2026-12-02"}\n\xff\xfe\n{"since": 7}\n{"since"')

    assert History(tmp_path).anchor() == "2026-12-02"
