"""The history: entries that pytest-benchmark reads, whole or absent, whoever else writes."""

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pytest_benchmark.storage.file import FileStorage

from fixtures.analysis.summary import summarise
from fixtures.errors import UsageError
from fixtures.history.__main__ import main
from fixtures.history.entry import SECTION, Commit, Entry, Machine
from fixtures.history.gate import REFERENCE, judge
from fixtures.history.store import History, explain_unversioned, read_commit, series
from fixtures.settings.settings import Settings
from tests.unit.samples import HERE, OVERHEAD, SPEEDUP, TRAINING, entry
from tests.unit.trials import SETTINGS, SPREAD, run, timing_round

SAVED = Path(__file__).parents[1] / "data" / "benchmark.json"


def saved() -> dict[str, Any]:
    """What pytest-benchmark really saved of a run of this suite."""
    content: dict[str, Any] = json.loads(SAVED.read_text(encoding="utf-8"))
    return content


def history(folder: Path, count: int = 0, **changes: Any) -> History:
    found = History(folder / "history")
    for number in range(1, count + 1):
        found.add(entry(number, **changes), saved())
    return found


def names(of: History) -> list[str]:
    return sorted(file.name for file in of.folder.iterdir() if not file.name.startswith("."))


# Written


def test_an_entry_comes_back_as_it_was_written(tmp_path: Path) -> None:
    made = history(tmp_path, 2)

    entries, unreadable = made.read()

    assert entries == [entry(1), entry(2)]
    assert unreadable == []
    assert names(made) == ["0001_01c0ffeec0ff_20261201_020000.json", "0002_02c0ffeec0ff_20261202_020000.json"]


def test_pytest_benchmark_reads_an_entry_as_its_own(tmp_path: Path) -> None:
    made = history(tmp_path, 2)
    storage = FileStorage(made.folder, None, default_machine_id="Linux-CPython-3.11-64bit")

    benchmarks = list(storage.load_benchmarks())

    assert len(benchmarks) == 4
    assert {each["name"].partition("[")[0] for each in benchmarks} == {
        "test_baseline_reaches_the_accuracy",
        "test_workers_do_the_same_work_faster",
    }
    assert all(each["mean"] > 0 and each["rounds"] == 1 for each in benchmarks)


def test_a_run_that_was_slowed_on_purpose_or_has_no_timing_round_never_enters(tmp_path: Path) -> None:
    made = history(tmp_path)

    assert made.add(entry(injected_slowdown=0.15), saved()) is None
    assert made.add(replace(entry(), rounds={"0": (), "2": ()}), saved()) is None
    assert not made.folder.exists()


def test_runs_at_once_take_different_numbers_that_are_never_used_again(tmp_path: Path) -> None:
    made = history(tmp_path)
    with ThreadPoolExecutor(12) as threads:
        list(threads.map(lambda _: made.add(entry(), saved()), range(12)))

    assert [name[:4] for name in names(made)] == [f"{number:04d}" for number in range(1, 13)]
    assert len(made.read()[0]) == 12
    (made.folder / names(made)[0]).unlink()
    file = made.add(entry(4), saved())
    assert file is not None
    assert file.name.startswith("0013_")


# Read


def test_a_last_entry_that_was_cut_off_is_named_and_the_others_count(tmp_path: Path) -> None:
    made = history(tmp_path, 3)
    last = made.folder / names(made)[-1]
    last.write_text(last.read_text()[:700])

    entries, (broken,) = made.read()

    assert len(entries) == 2
    assert broken.file == last.name
    assert made.add(entry(4), saved()).name.startswith("0004_")  # type: ignore[union-attr]


@pytest.mark.parametrize("content", ["", "[]", "null", '"text"', "{}", '{"benchmarks": []}'])
def test_a_file_that_is_not_ours_is_named(tmp_path: Path, content: str) -> None:
    made = history(tmp_path, 1)
    (made.folder / "0002_other.json").write_text(content)

    entries, (broken,) = made.read()

    assert (len(entries), broken.file) == (1, "0002_other.json")


def changed(made: History, **section: Any) -> None:
    """Write over the only entry."""
    (name,) = names(made)
    content = json.loads((made.folder / name).read_text())
    content[SECTION] |= section
    for key in [key for key, value in section.items() if value is None and key != "machine"]:
        del content[SECTION][key]
    (made.folder / name).write_text(json.dumps(content))


def test_an_entry_of_an_older_schema_lacks_fields_and_still_counts(tmp_path: Path) -> None:
    made = history(tmp_path, 1)
    changed(made, complete=None, injected_slowdown=None, schema=0)

    (found,), unreadable = made.read()

    assert unreadable == []
    assert (found.complete, found.injected_slowdown) == (True, 0.0)


def test_an_entry_of_before_there_was_a_choice_of_ray_train_is_like_the_trimmed_ones(tmp_path: Path) -> None:
    made = history(tmp_path, 1)
    changed(made, setup={"cluster": "local", "batch-size": "128"})

    (old,), _ = made.read()

    assert old.like == replace(entry(2), setup=entry(2).setup | {"ray-train": "trimmed"}).like
    assert old.like != entry(2).like


@pytest.mark.parametrize(
    ("section", "why"),
    [
        ({"schema": 99}, "schema 99, this version reads up to 1"),
        ({"schema": "new"}, "schema 'new'"),
        ({"rounds": None}, "Entry.rounds is missing"),
        ({"outcome": 5}, "Entry.outcome: expected str, got 5"),
    ],
)
def test_an_entry_that_cannot_be_read_is_named(tmp_path: Path, section: dict[str, Any], why: str) -> None:
    made = history(tmp_path, 1)
    changed(made, **section)

    entries, (broken,) = made.read()

    assert entries == []
    assert why in broken.why


# As the gate sees it


def test_a_run_has_the_speedup_the_rescaled_training_time_and_the_overhead_of_each_round() -> None:
    found = entry(1).sample.measures

    assert found[SPEEDUP].rounds[0] == pytest.approx(0.99 * 1.6)
    assert found[TRAINING].rounds[0] == pytest.approx(0.99 * 5.0 / 0.125)
    assert found[OVERHEAD].rounds[0] == pytest.approx(10.0)
    assert len(found[SPEEDUP].rounds) == 8


def test_polluted_rounds_are_left_out_and_rerun_ones_kept_apart() -> None:
    of = entry(1)
    rounds = {name: tuple(replace(r, rerun=r.number > 6) for r in each) for name, each in of.rounds.items()}

    found = replace(of, rounds=rounds, polluted={"1": "noise", "8": "noise"}).sample.measures[SPEEDUP]

    assert (len(found.rounds), len(found.rerun)) == (5, 1)


@pytest.mark.parametrize(
    ("outcome", "why"), [("NOT_APPLICABLE", "skipped: Too few cores."), ("REGRESSION", "nothing was measured: Too few")]
)
def test_a_count_without_a_speedup_measured_nothing_however_long_it_ran(outcome: str, why: str) -> None:
    of = entry(1)
    compared = (replace(of.compared[0], outcome=outcome, why="Too few cores.", speedup=None),)

    sample = replace(of, compared=compared).sample

    assert SPEEDUP not in sample.measures
    assert sample.absent[SPEEDUP].startswith(why)


def test_without_a_calibration_the_training_time_is_not_judged_and_the_rest_is() -> None:
    of = entry(1)
    rounds = {name: tuple(replace(r, calibration_seconds=None) for r in each) for name, each in of.rounds.items()}

    sample = replace(of, rounds=rounds).sample

    assert set(sample.measures) == {SPEEDUP, OVERHEAD}
    assert sample.absent[TRAINING] == "nothing was measured: no calibration was measured."


def test_versions_are_no_reason_to_forget_the_past_and_hardware_and_settings_are() -> None:
    assert replace(entry(1), versions={"ray": "3.0"}).like == entry(2).like
    for other in (
        replace(entry(1), machine=replace(HERE, memory_gib=16)),
        replace(entry(1), machine=replace(HERE, quota=1.5)),
        replace(entry(1), machine=replace(HERE, cpu="Intel Xeon")),
        replace(entry(1), setup=entry(1).setup | {"cluster": "minikube"}),
        replace(entry(1), setup=entry(1).setup | {"ray-train": "trimmed"}),
    ):
        assert other.like != entry(2).like
    assert entry(1, machine=None).like != entry(2, machine=None).like, "an unknown machine is like no other"


def test_a_monitored_run_is_like_monitored_ones_and_others_like_those_of_before_there_was_any() -> None:
    def made(*more: str) -> Entry:
        measured = run(*(timing_round(n, 10.0, 5.5, None) for n in (1, 2)))
        texts = [text for text in measured.settings.recorded() if not text.startswith("monitoring=")]
        settings = Settings.from_recorded([*texts, *more])
        return Entry.of(summarise(replace(measured, settings=settings), SPREAD), Commit("c"), "1")

    assert made().setup == made("monitoring=false").setup
    assert made("monitoring=true").setup == made().setup | {"monitoring": "true"}


def test_a_run_whose_rounds_have_the_process_on_all_cores_is_compared_with_such_runs_alone() -> None:
    def made(seconds: float | None = None, **run_of: Any) -> Entry:
        rounds = [timing_round(number, 10.0, 6.0, all_cores=seconds) for number in (1, 2)]
        return Entry.of(summarise(run(*rounds, **run_of), SPREAD), Commit("c0ffee"), "1.0")

    old, new = made(), made(5.5, all_cores=(2,))
    assert new.setup == old.setup | {"all-cores": "true"}
    assert made(all_cores=(2,), settings=replace(SETTINGS, all_cores=False)).setup == old.setup
    assert old.compared[0].against_all_cores is None
    assert new.compared[0].against_all_cores == pytest.approx(5.5 / 6)
    assert Entry.from_section(json.loads(json.dumps(new.section)), "") == new


def test_the_series_of_a_plot_holds_comparable_complete_runs_in_order(tmp_path: Path) -> None:
    entries = [entry(1), entry(2, machine=None), entry(3, complete=False), entry(4, speedup=1.7)]

    rows = series(entries, entries[0].like)

    assert [(row.date[:10], row.compared[2].speedup) for row in rows] == [("2026-12-01", 1.6), ("2026-12-04", 1.7)]
    assert rows[0].commit == "01c0ffeec0ff"


def test_a_run_that_was_cut_off_is_no_run_and_a_history_that_does_not_exist_is_empty(tmp_path: Path) -> None:
    assert (history(tmp_path).read(), history(tmp_path).samples()) == (([], []), [])
    assert len(history(tmp_path, 2, complete=False).samples()) == 0
    assert len(history(tmp_path, 2).read()[0]) == 4


# A new level


def test_an_accepted_level_begins_a_new_reference(tmp_path: Path) -> None:
    made = history(tmp_path, REFERENCE)
    for number in range(REFERENCE + 1, 2 * REFERENCE + 1):
        made.add(entry(number, speedup=1.2), saved())
    current = entry(30, speedup=1.2).sample
    assert judge(made.samples(), current).rerun

    assert made.accept(f"{REFERENCE + 1:02d}c0ffee") == entry(REFERENCE + 1, speedup=1.2)
    judgement = judge(made.samples(), current)
    assert (judgement.comparable, judgement.rerun, judgement.findings) == (REFERENCE, 0, ())


def test_a_commit_that_the_history_does_not_know_is_refused(tmp_path: Path) -> None:
    made = history(tmp_path, 1)
    for commit in ("beef", ""):
        with pytest.raises(UsageError, match="expected a commit of the history, such as 01c0ffeec0ff"):
            made.accept(commit)


def test_an_acceptance_that_was_cut_off_never_happened(tmp_path: Path) -> None:
    made = history(tmp_path, 3)
    made.accept("02c0ffee")
    with (made.folder / "accepted.jsonl").open("a") as file:
        file.write('{"since": "2026-12')

    assert len(made.samples()) == 2


# The command line


def test_the_status_names_machine_runs_and_what_the_gate_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = history(tmp_path, 3)
    (made.folder / "0009_cut.json").write_text("{")

    assert main(["--history", str(made.folder), "status"]) == 0

    shown = capsys.readouterr().out
    assert "left out: 0009_cut.json" in shown
    assert "machine: AMD EPYC, 2 cores (2 usable), 24 GiB; cluster=local, batch-size=128, ray-train=shipped" in shown
    assert "01c0ffeec0ff" in shown
    assert "S(2) 1.600" in shown
    assert f"No comparable history yet: 2 of {REFERENCE} nights" in shown


def test_a_level_is_accepted_or_refused_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = history(tmp_path, 2)

    assert main(["--history", str(made.folder), "accept", "--since", "02c0"]) == 0
    assert "begins anew at 02c0ffeec0ff (2026-12-02)" in capsys.readouterr().out
    assert main(["--history", str(made.folder), "accept", "--since", "beef"]) == 4
    assert "expected a commit of the history" in capsys.readouterr().err


# The commit


def test_the_commit_is_the_working_trees(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        names = ("-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "commit.gpgsign=false")
        subprocess.run(["git", "-C", str(tmp_path), *names, *arguments], check=True, capture_output=True, timeout=20)

    assert read_commit(tmp_path) == Commit("unversioned")
    git("init")
    (tmp_path / "file").write_text("one")
    git("add", "file")
    git("commit", "-m", "one")
    clean = read_commit(tmp_path)
    (tmp_path / "file").write_text("two")

    assert len(clean.id) == 40
    assert not clean.dirty
    assert read_commit(tmp_path) == Commit(clean.id, dirty=True)
    assert read_commit(tmp_path).short.endswith(" with changes")


def test_the_machine_is_named_for_people() -> None:
    assert str(Machine("A", "x86_64", 4, 16, 1.5, 3)) == "A, 4 cores (3 usable, quota 1.5 CPUs), 16 GiB"
    assert isinstance(entry(1), Entry)


def test_a_working_tree_that_git_refuses_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert explain_unversioned(tmp_path) == ""

    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")

    assert read_commit(tmp_path) == Commit("unversioned")
    assert explain_unversioned(tmp_path).startswith(
        f"git does not tell which commit this is, so the run is unversioned: fatal: detected dubious ownership in "
        f"repository at '{tmp_path}' To add an exception for this directory, call: git config --global"
    )
