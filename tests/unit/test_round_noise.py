"""The noise between rounds is that of a run's own rounds, and only of runs that say something about it."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from statistics import stdev
from typing import Any

import pytest

from benchmarks.round_noise import main, read, together
from fixtures.errors import MissingResultError, UsageError
from fixtures.history.entry import Entry, Round
from fixtures.history.replay import FILE, METRICS, Recorded, deviation
from fixtures.history.store import History
from tests.unit.recorded import recorded, recorded_text
from tests.unit.samples import SPEEDUP, entry

WOBBLE = (0.9, 1.1, 0.95, 1.05, 1.0, 1.0, 0.97, 1.03, 0.99, 1.01, 1.0, 1.0)


def run(number: int = 1, **changes: Any) -> Entry:
    """A run of twelve rounds, whose baseline varies and whose workers do not."""
    own = tuple(Round(n, 5.0 * wobble, 8.5 * wobble, 0.125) for n, wobble in enumerate(WOBBLE, 1))
    many = tuple(Round(n, 3.0, 13.0 * wobble, 0.125) for n, wobble in enumerate(WOBBLE, 1))
    return replace(entry(number), **{"rounds": {"0": own, "2": many}, **changes})


def added(folder: Path, *entries: Entry) -> list[str]:
    """Their files in a history."""
    files = [History(folder / "history").add(each, {"benchmarks": []}) for each in entries]
    return [str(file) for file in files]


def kept(folder: Path) -> Path:
    """A copy of what is recorded."""
    file = folder / "replay.json"
    file.write_text(FILE.read_text(encoding="utf-8"), encoding="utf-8")
    return file


def test_the_noise_is_the_scatter_of_the_logarithms_of_the_rounds() -> None:
    (found,) = together([(run(), "run")])

    assert set(found) == {metric.name for metric in METRICS}
    assert deviation(found["speedup"]) == pytest.approx(stdev(map(math.log, WOBBLE)), rel=1e-3)
    assert list(map(len, found["overhead"]["nights"])) == [len(WOBBLE)]


def test_the_rounds_of_a_run_scatter_about_its_own_level_whatever_other_runs_have() -> None:
    faster = {"0": run().rounds["0"], "2": tuple(replace(r, train_seconds=2.0) for r in run().rounds["2"])}
    short = {name: rounds[:6] for name, rounds in run().rounds.items()}

    (levels,) = together([(run(1), "one"), (run(2, rounds=faster), "two")])
    (halves,) = together([(run(1, rounds=short), "one"), (run(2, rounds=short), "two")])

    # 23 and 22 degrees of freedom: a run gives one to its own mean.
    assert deviation(levels["speedup"]) == pytest.approx(stdev(map(math.log, WOBBLE)), rel=1e-3)
    assert deviation(halves["speedup"]) == pytest.approx(stdev(map(math.log, WOBBLE[:6])), rel=1e-3)
    assert levels["speedup"]["by"] == f"pytest -m e2e --regression, 2 runs, {run(1).at} to {run(2).at}"


def test_runs_of_two_machines_are_two_measurements() -> None:
    other = run(2, setup={**run().setup, "batch_size": "256"})

    assert len(together([(run(1), "one"), (other, "two")])) == 2


def test_a_run_is_added_and_the_noisiest_is_replayed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, before = kept(tmp_path), Recorded.load()
    wild = replace(
        run(2), rounds={**run().rounds, "2": tuple(replace(r, train_seconds=r.number) for r in run().rounds["2"])}
    )

    assert main([*added(tmp_path, run(1)), "--file", str(file)]) == 0
    assert Recorded.load(file).scenario == before.scenario
    assert main([*added(tmp_path, wild), "--file", str(file)]) == 0
    assert Recorded.load(file).scenario.deviations[SPEEDUP] > 0.5
    assert "noise between rounds of the speedup of 2 workers\n    7.9%  make bench" in capsys.readouterr().out


def test_a_run_that_is_there_already_is_replaced_and_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    file, sources = kept(tmp_path), added(tmp_path, run(1), run(2))

    assert main([*sources, "--file", str(file), "--dry-run"]) == 0
    assert file.read_bytes() == FILE.read_bytes()
    for _ in range(2):
        assert main([*sources, "--file", str(file)]) == 0
    recorded = json.loads(file.read_text())["measured"]["speedup"]
    assert len(recorded) == len(json.loads(FILE.read_text())["measured"]["speedup"]) + 1
    assert len(recorded[-1]["nights"]) == 2
    assert not re.search(r"^\s*[\d.]+,?$", file.read_text(), re.MULTILINE), "a number has a line of its own"


@pytest.mark.parametrize(
    ("changes", "error", "why"),
    [
        ({"injected_slowdown": 0.15}, UsageError, "slowed down on purpose"),
        ({"polluted": {"3": "x"}}, UsageError, "11 clean rounds of the speedup of 2 workers, 12 are needed"),
        ({"counts": (4,)}, MissingResultError, "run has no speedup of 2 workers: it was not asked for"),
    ],
)
def test_a_run_that_says_nothing_about_noise_is_refused(
    changes: dict[str, Any], error: type[Exception], why: str
) -> None:
    with pytest.raises(error, match=why):
        together([(run(**changes), "run")])


def test_what_is_no_run_is_refused_in_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "other.json").write_text("{}")

    assert main([str(tmp_path / "other.json")]) == 4
    assert main([str(tmp_path / "nowhere")]) == 4
    said = capsys.readouterr().err
    assert "expected an entry of the history or a run's reports" in said
    assert "no measurements.json there" in said


def test_a_folder_of_reports_is_read_as_its_measurements(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "measurements.json").write_text(recorded_text())

    assert read(tmp_path).counts == recorded().counts
