"""What a sweep file may say, and the sentence that refuses anything else."""

from pathlib import Path

import pytest

from fixtures.errors import UsageError
from fixtures.settings.settings import Settings
from fixtures.settings.sweep import SweepSettings
from fixtures.settings.sweep_file import read_sweep
from trainer.sweep_result import Configuration


def read(tmp_path: Path, text: str, **options: object) -> tuple[Configuration, ...]:
    file = tmp_path / "sweep.toml"
    file.write_text(text)
    return read_sweep(Settings(sweeps=SweepSettings(sweep=file), **options), samples=60_000)  # type: ignore[arg-type]


def refusal(tmp_path: Path, text: str, **options: object) -> str:
    with pytest.raises(UsageError) as refused:
        read(tmp_path, text, **options)
    return str(refused.value).replace(f"{tmp_path}/", "")


def test_a_list_names_what_differs_from_the_run(tmp_path: Path) -> None:
    text = "[[configuration]]\nlearning_rate = 0.01\n[[configuration]]\nbatch_size = 64\nseed = 7"

    assert read(tmp_path, text, batch_size=256, seed=3) == (
        Configuration(batch_size=256, seed=3, learning_rate=0.01),
        Configuration(batch_size=64, seed=7, learning_rate=None),
    )


def test_a_grid_has_every_combination(tmp_path: Path) -> None:
    rows = read(tmp_path, "[grid]\nlearning_rate = [0.001, 0.01]\nbatch_size = [64, 128]")

    assert [(row.learning_rate, row.batch_size) for row in rows] == [(0.001, 64), (0.001, 128), (0.01, 64), (0.01, 128)]


def test_random_draws_the_same_configurations_each_time(tmp_path: Path) -> None:
    text = "[random]\ncount = 8\nlearning_rate = {low = 0.0001, high = 0.1}\nbatch_size = [64, 128]"
    rows = read(tmp_path, text)

    assert rows == read(tmp_path, text)
    assert len(rows) == 8
    assert all(row.learning_rate and 0.0001 <= row.learning_rate <= 0.1 for row in rows)
    assert {row.batch_size for row in rows} == {64, 128}
    assert read(tmp_path, text.replace("count", "draw_seed = 2\ncount")) != rows


def test_a_quick_run_trains_the_first_four(tmp_path: Path) -> None:
    text = "[grid]\nseed = [1, 2, 3, 4, 5]"

    assert [row.seed for row in read(tmp_path, text, quick=True)] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "expected a list [[configuration]], or one table [grid] or [random], got nothing"),
        ("[grid]\nseed = [1]\n[random]\ncount = 2", "got grid, random"),
        ("grid = 3", "grid: expected a list of values for each name"),
        ("[grid]\nseed = 1", "grid: expected a list of values for each name"),
        ("[grid]\nmomentum = [0.9, 0.8]", "momentum is not one of learning_rate, batch_size, seed"),
        ("[grid]\nlearning_rate = [0.1, true]", "configuration 2: learning_rate = True, expected a number from 1e-09"),
        ("[grid]\nbatch_size = [128, 64.0]", "configuration 2: batch_size = 64.0, expected a whole number from 1"),
        ("[grid]\nbatch_size = [128, 65]", "configuration 2: batch_size = 65 is not shared by 2 workers"),
        ("[grid]\nbatch_size = [128, 60002]", "batch_size = 60002, there are 60,000 samples to train on"),
        ("[grid]\nseed = [1, 1]", "two configurations are the same"),
        ("[grid]\nseed = [1]", "expected 2 to 100 configurations, got 1"),
        ("[random]\nseed = [1, 2]", "random: expected count, a whole number up to 100"),
        ("[random]\ncount = 2\nlearning_rate = 0.1", "random: learning_rate: expected a list of values, or {low"),
        ("[random]\ncount = 2\nlearning_rate = {low = 1, high = 0.1}", "random: learning_rate: expected a list"),
        ("[grid", "Expected ']' at the end"),
    ],
)
def test_any_other_file_is_refused_in_one_sentence(text: str, why: str, tmp_path: Path) -> None:
    said = refusal(tmp_path, text)

    assert said.startswith("--sweep='sweep.toml': ")
    assert why in said
    assert "\n" not in said


def test_a_sweep_needs_its_file_one_count_of_trainings_at_a_time_and_a_whole_ray_train(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--sweep: expected a file of configurations"):
        read_sweep(Settings(), samples=60_000)

    assert "--workers='2,4': expected one count from 2" in refusal(tmp_path, "", workers=(2, 4))
    assert "--ray-train='trimmed': expected shipped" in refusal(tmp_path, "", ray_train="trimmed")
