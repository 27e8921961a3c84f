"""The history of sweeps: what is kept of one, which ones compare, and that no gate of the speedups sees them."""

from dataclasses import replace
from pathlib import Path

from fixtures.analysis.sweep import SweepRun, SweepSummary
from fixtures.history.entry import Commit
from fixtures.history.store import History
from fixtures.history.sweeps import FILE, SweepEntry, add_sweep
from fixtures.report.sweep import make_study, make_sweep_json
from tests.unit.sweeps import CONFIGURATIONS, sweep_round, sweep_run, trained, with_trial
from tests.unit.trials import with_epoch


def entry(run: SweepRun, commit: str = "a" * 40) -> SweepEntry:
    return SweepEntry.of(SweepSummary(run), Commit(commit), "1.0")


RUN = sweep_run(*(sweep_round(number, tune=24.0 + number / 10) for number in (1, 2, 3)))


def test_a_sweep_is_compared_with_the_earlier_ones_of_the_same_machine_and_configurations(tmp_path: Path) -> None:
    first, other = entry(RUN), entry(replace(RUN, configurations=CONFIGURATIONS[:3]))

    assert add_sweep(tmp_path, first) == []
    assert add_sweep(tmp_path, other) == []
    assert add_sweep(tmp_path, entry(RUN, "b" * 40)) == [first]
    assert entry(replace(RUN, epochs=9)).like != first.like
    assert entry(replace(RUN, cluster=replace(RUN.cluster, provider="kind"))).like != first.like


def test_a_line_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    add_sweep(tmp_path, entry(RUN))
    lines = (tmp_path / FILE).read_text()
    (tmp_path / FILE).write_text(lines[: len(lines) // 2] + "\n" + lines)

    assert add_sweep(tmp_path, entry(RUN)) == [entry(RUN)]


def test_the_history_of_the_speedups_does_not_have_it(tmp_path: Path) -> None:
    add_sweep(tmp_path, entry(RUN))

    assert History(tmp_path).read() == ([], [])


def test_unequal_work_has_no_figures_and_its_verdict_is_kept() -> None:
    unequal = entry(with_trial(RUN, "tune", 0, with_epoch(trained("tune", 0), 0, epoch=1, weights="others")))

    assert (unequal.outcome, unequal.overhead, unequal.gain) == ("REGRESSION", None, None)


def test_every_report_shows_the_earlier_ones() -> None:
    earlier = [entry(RUN, "abc" * 14)]

    study = make_study(SweepSummary(RUN), earlier)
    for report in (study.markdown, study.page):
        assert "Earlier sweeps" in report
        assert "abcabcabcabc" in report
        assert "1.21x" in report
    assert make_sweep_json(SweepSummary(RUN), earlier)["earlier"][0]["commit"]["id"] == "abc" * 14
