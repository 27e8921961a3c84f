"""Runs are compared as honestly as their sides are: by intervals, on like machines, or not at all."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from fixtures.analysis.measurement import Failure, Measurement, Run
from fixtures.analysis.summary import summarise
from fixtures.analysis.verdict import Outcome
from fixtures.report.__main__ import main
from fixtures.report.compare import Named, compare_runs, judge_all
from fixtures.report.compare_page import draw_changes, make_comparison_markdown, make_comparison_page, tabulate_runs
from tests.unit.trials import NET, SETTINGS, SPREAD, measurement, on, run, slowed, spec, timing_round


def rounds(parallel: float, copies: float | None = 10.4, step: float = 0.01) -> list[tuple[Measurement, ...]]:
    return [timing_round(number, 10.0, parallel + number * step, copies) for number in (1, 2, 3)]


OLD = run(*rounds(5.5))
SLOWER = run(*rounds(6.0))
FASTER = run(*rounds(5.0))
ALIKE = run(*rounds(5.49))
WILD = run(*rounds(5.0, step=1.0))
FEWER_CORES = run(*rounds(5.5), usable_cores=4)
LOST = run(accuracy=[], failures=(Failure("run", "Infra", "Node worker-2 is gone.", ""),))


def named(measured: Run, name: str = "run") -> Named:
    return Named(name, summarise(measured, SPREAD))


def judged(old: Run, new: Run) -> tuple[Outcome, str]:
    found = compare_runs(named(old, "old"), named(new, "new")).verdict
    return found.outcome, found.why


@pytest.mark.parametrize(
    ("new", "outcome", "why"),
    [
        pytest.param(
            SLOWER,
            Outcome.REGRESSION,
            "2 workers: 1.81x, then 1.66x (-8.3%): slower, the intervals do not touch.",
            id="entirely below",
        ),
        pytest.param(
            FASTER,
            Outcome.PASS,
            "2 workers: 1.81x, then 1.99x (+10.0%): faster, the intervals do not touch.",
            id="entirely above",
        ),
        pytest.param(ALIKE, Outcome.PASS, "no difference shown, a loss of 10% is excluded.", id="overlap closely"),
        pytest.param(WILD, Outcome.INCONCLUSIVE, "no difference shown, but a loss of", id="excludes no great loss"),
        pytest.param(
            run(*rounds(6.0, copies=11.4)),
            Outcome.INCONCLUSIVE,
            "so did the machine's ceiling, and the share of it did not",
            id="the ceiling fell alike",
        ),
        pytest.param(run(*rounds(7.0, copies=11.4)), Outcome.REGRESSION, "", id="ceiling and share fell"),
        pytest.param(FEWER_CORES, Outcome.INCONCLUSIVE, "usable cores 8 against 4", id="another machine"),
        pytest.param(
            replace(OLD, settings=replace(OLD.settings, collective="ring")),
            Outcome.INCONCLUSIVE,
            "--collective auto",
            id="another setting",
        ),
        pytest.param(
            run(*rounds(6.0), settings=replace(SETTINGS, ray_train="trimmed")),
            Outcome.INCONCLUSIVE,
            "--ray-train shipped",
            id="another Ray Train",
        ),
        pytest.param(
            run(rounds(5.5)[0], settings=SETTINGS),
            Outcome.INCONCLUSIVE,
            "one of the runs has no interval",
            id="one round",
        ),
        pytest.param(
            run(*rounds(5.5), counts=(2, 4)),
            Outcome.INCONCLUSIVE,
            "measured in one of the runs only",
            id="a count more",
        ),
        pytest.param(
            run(accuracy=[measurement(spec(0))], usable_cores=4),
            Outcome.REGRESSION,
            "",
            id="broken work, other machine",
        ),
        pytest.param(LOST, Outcome.INFRA, "2 workers: Node worker-2 is gone.", id="a node was lost"),
    ],
)
def test_the_verdict_of_a_later_run(new: Run, outcome: Outcome, why: str) -> None:
    verdict, reason = judged(OLD, new)

    assert verdict is outcome
    assert why in reason


def test_what_was_changed_on_purpose_is_named_wherever_a_runs_figures_are() -> None:
    altered = replace(SETTINGS, inject_slowdown=0.15, ray_train="trimmed")
    delayed = slowed(run(*rounds(6.0), settings=altered), 0.15)
    runs = [named(OLD, "old"), named(delayed, "new")]
    found = [compare_runs(*runs)]

    for made in (make_comparison_page(runs, found), make_comparison_markdown(runs, found)):
        assert "new: INJECTED SLOWDOWN OF 15.0%: each step of the workers was delayed on purpose." in made
        assert "TRIMMED RAY TRAIN: helpers of Ray Train were left out by private means." in made
        assert "2 workers, new (INJECTED SLOWDOWN OF 15.0%, TRIMMED RAY TRAIN)" in made


def test_runs_of_different_trainings_measure_different_things() -> None:
    edited = replace(NET, workload_sha256="e" * 64)
    old, new = replace(OLD, workload=NET), replace(OLD, workload=edited)

    (unlike,) = compare_runs(named(old), named(new)).unlike

    assert unlike == (
        "the training my_net ffffffffffff on mine.npz dddddddddddd against my_net eeeeeeeeeeee on mine.npz dddddddddddd"
    )


def test_other_versions_may_be_what_is_compared_so_they_are_noted_and_nothing_else() -> None:
    trials = [
        replace(trial, result=replace(trial.result, versions={"ray": "2.60.0", "python": "3.11.7"}))
        for trial in OLD.measurements
    ]
    found = compare_runs(named(OLD), named(replace(OLD, measurements=tuple(trials))))

    assert found.unlike == ()
    assert found.notes[:2] == ("ray: absent, then 2.60.0", "tensorflow-cpu: 2.21.0, then absent")
    assert found.notes[-1].startswith("the earlier and later runs did not say on which processor")


def test_another_processor_is_another_measurement_and_another_kernel_a_suspect() -> None:
    here = on(OLD, "AMD EPYC")

    outcome, why = judged(here, on(SLOWER, "Intel Xeon"))
    assert outcome is Outcome.INCONCLUSIVE
    assert "machine AMD EPYC, 2 cores (8 usable), 24 GiB against Intel Xeon" in why
    assert judged(here, on(SLOWER, "AMD EPYC", "6.19"))[0] is Outcome.REGRESSION
    found = compare_runs(named(here), named(on(SLOWER, "AMD EPYC", "6.19")))
    assert found.notes == ("kernel: 6.18, then 6.19",)
    assert "the later run did not say" in compare_runs(named(here), named(SLOWER)).notes[-1]


def three() -> Sequence[Named]:
    return [named(OLD, "old"), named(ALIKE, "new"), named(SLOWER, "newest")]


def test_each_later_run_is_compared_with_the_first_and_the_worst_decides() -> None:
    runs = three()
    found = [compare_runs(runs[0], each) for each in runs[1:]]

    assert judge_all(found).outcome is Outcome.REGRESSION
    assert [(row[0], *row[-2:]) for row in tabulate_runs(runs, found).rows] == [
        ("2 workers, old", "", "reference"),
        ("2 workers, new", "+0.2%", "PASS"),
        ("2 workers, newest", "-8.3%", "REGRESSION"),
    ]


def test_the_chart_of_a_comparison_has_a_mark_for_each_run() -> None:
    assert draw_changes(three()).svg.count("<use") >= 3 * 3


def save(folder: Path, measured: Run) -> str:
    (folder / "results").mkdir(parents=True)
    (folder / "results" / "measurements.json").write_text(measured.to_json())
    return str(folder)


@pytest.mark.parametrize(
    ("new", "code", "strict"),
    [(ALIKE, 0, 0), (FASTER, 0, 0), (SLOWER, 1, 1), (FEWER_CORES, 0, 10)],
)
def test_the_command_exits_as_the_verdicts_do(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    new: Run,
    code: int,
    strict: int,
) -> None:
    monkeypatch.setattr("fixtures.report.__main__.Spread.load", lambda: SPREAD)
    old, later = save(tmp_path / "old", OLD), save(tmp_path / "new", new)

    assert main(["compare", old, later]) == code
    assert main(["compare", "--strict-verdict", old, later]) == strict

    shown = capsys.readouterr().out
    assert "2 workers, old" in shown
    assert "2 workers, new" in shown
    assert (tmp_path / "new" / "compare.html").is_file()


def test_a_run_that_cannot_be_read_is_no_verdict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "measurements.json").write_text(json.dumps({"settings": []}))

    assert main(["compare", str(tmp_path), str(tmp_path)]) == 2
    assert "Run.counts is missing from the result" in capsys.readouterr().err
    assert main([str(tmp_path / "nowhere")]) == 2


def test_the_command_makes_every_report_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fixtures.report.__main__.Spread.load", lambda: SPREAD)

    assert main([save(tmp_path / "run", OLD), "--output", str(tmp_path / "again")]) == 0

    shown = capsys.readouterr().out
    assert "speedup, rounds of 1 epoch" in shown
    assert str(tmp_path / "again" / "report.html") in shown
    assert {file.name for file in (tmp_path / "again").iterdir()} == {"report.html", "summary.md", "results"}


def test_reports_are_made_again_where_nothing_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, gone = save(tmp_path / "run", OLD), tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()  # in a folder that is no more, nothing can be made: not even by root

    assert main([folder]) == 0


def test_a_run_that_was_watched_beside_one_that_was_not_is_noted_and_compared() -> None:
    watched = replace(SLOWER, settings=replace(SLOWER.settings, monitoring=True))

    notes = compare_runs(named(OLD), named(watched)).notes
    assert any(each.startswith("monitoring: off, then on") for each in notes)
    assert judged(OLD, watched) == judged(OLD, SLOWER)
