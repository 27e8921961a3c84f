"""The command lines of the bench, of a rank and of a variant: what they take, and what they refuse."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from benchmarks import bench, rank
from benchmarks.rounds import GROUPS, SCRIPTS, configurations
from benchmarks.variants import common
from tests.unit import benches
from trainer.reading import BrokenResultError

LINE = '{"variant": "fit", "keras": "keras", "batch_size": 128, "seed": 1, "seconds": 9.5, "updates": 468, '
LINE += '"samples": 59904, "loss": 0.3, "intra_threads": 1, "inter_threads": 1, "cores": 1, "niceness": 0, '
LINE += '"versions": {"keras": "3.15.1"}}'


@pytest.mark.parametrize(
    ("arguments", "rounds", "groups"),
    [("", 16, GROUPS), ("--only noray,variants --rounds 2", 2, ("noray", "variants"))],
)
def test_the_bench_runs_everything_in_16_rounds_unless_told_otherwise(
    arguments: str, rounds: int, groups: tuple[str, ...]
) -> None:
    options = bench.parse(arguments.split())

    assert (options.rounds, options.only, options.report, options.chart) == (rounds, groups, None, None)
    assert options.out.parts[-3:] == ("reports", "bench", "bench.json")


def test_a_variant_trains_one_epoch_with_one_thread_unless_told_otherwise() -> None:
    options = common.parse(["--batch-size", "256"])

    assert (options.updates, options.samples, options.threads, options.keras) == (234, 59_904, 1, "keras")


def parse_rank(arguments: Sequence[str]) -> object:
    return rank.parse(["--workers", "2", "--data", "mnist.npz", *arguments])


@pytest.mark.parametrize(
    ("parse", "arguments", "why"),
    [
        (
            bench.parse,
            "--only speed",
            "--only='speed': expected some of ray,noray,helpers,variants,batches,keras,peers, each once",
        ),
        (
            bench.parse,
            "--only ray,ray",
            "--only='ray,ray': expected some of ray,noray,helpers,variants,batches,keras,peers, each once",
        ),
        (bench.parse, "--only=", "--only='': expected some of"),
        (bench.parse, "--rounds 0", "--rounds=0: expected a whole number from 1 to 1,000"),
        (bench.parse, "--seed -1", "--seed=-1: expected a whole number from 0 to 1,000,000,000"),
        (bench.parse, "--report nowhere.json", "--report='nowhere.json': expected a file that a bench wrote"),
        (bench.parse, "--out .", "--out='.': expected a file, this is a folder"),
        (bench.parse, "--chart .", "--chart='.': expected a file, this is a folder"),
        (common.parse, "--batch-size 0", "--batch-size 0: expected 1 to 60000"),
        (common.parse, "--updates 469", "--updates 469: expected 1 to 468, an epoch at batch 128"),
        (common.parse, "--updates 0", "--updates 0: expected 1 to 468"),
        (common.parse, "--threads 0", "--threads 0: expected at least 1"),
        (common.parse, "--keras keras2", "invalid choice: 'keras2'"),
        (common.parse, "--workers -1", "--workers -1: expected 0 or more"),
        (parse_rank, "--rank 2", "--rank 2: expected 0 to 1, one less than --workers"),
        (parse_rank, "--rank 0 --batch-size 127", "--batch-size 127 cannot be divided among --workers 2"),
    ],
)
def test_bench_variant_and_rank_refuse_in_one_sentence(
    parse: Callable[[Sequence[str]], object], arguments: str, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(arguments.split())

    assert ended.value.code == 2
    assert why in capsys.readouterr().err.splitlines()[-1]


def test_every_variant_has_its_script() -> None:
    folder = Path(common.__file__).parent

    for script in SCRIPTS.values():
        assert (folder / f"{script.module}.py").is_file()
        assert script.package in common.KERAS


def test_what_a_variant_handed_back_is_found_among_what_keras_prints() -> None:
    assert common.decode(f"Epoch 1\n{LINE}\n").seconds == 9.5


@pytest.mark.parametrize("log", ["", f"{LINE}\n{LINE}\n", LINE.replace('"loss": 0.3, ', ""), LINE[:-5]])
def test_a_variants_line_that_is_absent_doubled_or_incomplete_is_refused(log: str) -> None:
    with pytest.raises(BrokenResultError):
        common.decode(log)


def test_a_report_judges_a_file_again_and_ends_with_1_unless_all_is_met(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench, "prove", lambda made, spread: None)
    codes = []
    for groups in (("noray",), ("ray",)):
        file = tmp_path / f"{groups[0]}.json"
        file.write_text(benches.bench(3, groups).to_json(), encoding="utf-8")
        codes.append(bench.main(["--report", str(file)]))

    assert codes == [0, 1]  # these trials' jobs last 6 s longer than their training, the baseline's may 5 s
    assert "T(2 ranks without Ray)" in capsys.readouterr().out


def test_a_report_of_unequal_work_says_that_and_judges_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "bench.json"
    file.write_text(benches.bench(1, ("ray",)).to_json(), encoding="utf-8")  # trained at batch 6000

    assert bench.main(["--report", str(file)]) == 1
    out = capsys.readouterr().out
    assert out.startswith("Nothing can be said about speed: 2 copies, round 1: trained at global batch 6000, not 128.")


def test_a_report_of_a_damaged_file_names_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "bench.json"
    file.write_text("{}", encoding="utf-8")

    assert bench.main(["--report", str(file)]) == 1
    assert capsys.readouterr().err.startswith("Bench.command is missing from the result.")


@pytest.mark.parametrize(
    ("absent", "skipped"),
    [
        ("torch", {"PyTorch": "torch", "2 workers, PyTorch DDP": "torch"}),
        ("tf_keras", {"tf-keras fit": "tf_keras", "2 workers, Ray Train and fit": "tf_keras"}),
        ("mpiexec", {"2 ranks started by MPI": "MPI's launcher"}),
    ],
)
def test_what_is_not_installed_is_skipped_with_one_sentence(
    absent: str, skipped: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mpiexec").touch()
    monkeypatch.setattr("benchmarks.without_ray.MPIEXEC", tmp_path / ("none" if absent == "mpiexec" else "mpiexec"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == absent else name)
    lines: list[str] = []

    assert set(bench.find_missing(configurations(("peers",), 1), lines.append)) == set(skipped)
    assert set(lines) == {
        f"skipped: {name} needs {need}, which is not installed; `make bench` installs it"
        for name, need in skipped.items()
    }
