"""Equal runs in pairs: how far they differ, against the intervals that they promise."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks.pairs import compare, describe, main
from fixtures.errors import UsageError
from fixtures.history.store import History
from tests.unit.samples import entry

STEADY = (1.50, 1.52, 1.48, 1.51, 1.49, 1.50)


@pytest.mark.parametrize(("factor", "covered"), [(1.0, True), (1.01, True), (1.1, False)])
def test_a_difference_counts_against_the_spread_of_both_runs(factor: float, covered: bool) -> None:
    pair = compare(STEADY, [factor * value for value in STEADY])

    assert pair.ratio == pytest.approx(factor)
    assert pair.reach == pytest.approx(0.0121, abs=1e-3)
    assert pair.covered is covered


def test_every_pair_and_the_pairs_of_neighbours_are_counted() -> None:
    runs: Sequence[Sequence[float]] = (STEADY, STEADY, [1.2 * value for value in STEADY])

    neighbours, every = describe("speedup", runs)[1:3]

    assert "pairs of neighbours: 1, apart by 0.0%" in neighbours
    assert "zero in 1 of 1" in neighbours
    assert "all pairs: 3, apart by 20.0% in the middle and 20.0% at most" in every
    assert "zero in 1 of 3" in every


def test_one_run_is_no_pair() -> None:
    with pytest.raises(UsageError, match="one run, expected at least two of the same machine and setting"):
        describe("speedup", [STEADY])
    with pytest.raises(UsageError, match="no spread to judge a difference by"):
        compare([1.5, 1.5], [1.5, 1.5])


def test_the_command_reads_entries_of_the_history(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    history = History(tmp_path)
    files = [str(history.add(entry(number, speedup=1.5), {})) for number in (1, 2)]

    assert main(files) == 0
    assert "speedup of 2 workers: 2 runs of 8 to 8 clean rounds" in capsys.readouterr().out
    assert main(files[:1]) == 1
    assert "expected at least two" in capsys.readouterr().err
