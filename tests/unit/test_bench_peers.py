"""How others train beside this project: speedups over their own single process and over the baseline."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.peers import Row, compare, draw
from benchmarks.rounds import RAY_FIT, TORCH, TORCH_DDP, Configuration
from benchmarks.table import render
from tests.unit.benches import bench, steady, variant_trial
from tests.unit.trials import SPREAD


def clock(configuration: Configuration, number: int) -> float:
    """PyTorch takes 8 s alone and 4 s with two workers, Ray's documentation's way 6 s."""
    return {TORCH: 8.0, TORCH_DDP: 4.0, RAY_FIT: 6.0}.get(configuration.variant) or steady(configuration, number)


@pytest.fixture
def rows() -> dict[str, Row]:
    return {row.name: row for row in compare(bench(3, ("peers",), clock), SPREAD)}


def estimates(row: Row) -> tuple[float, float]:
    assert row.own
    assert row.ours
    return round(row.own.estimate, 2), round(row.ours.estimate, 2)


def test_a_peer_is_compared_with_its_own_single_process_and_with_the_baseline(rows: dict[str, Row]) -> None:
    assert estimates(rows[TORCH_DDP]) == (2.0, 2.5)
    assert estimates(rows[RAY_FIT]) == (2.0, 1.67)  # of tf-keras fit, 12 s
    assert estimates(rows["2 workers, TensorFlow's collective"]) == (1.67, 1.67)
    assert rows["Keras 3 fit"].own is None


def test_the_rest_of_the_job_is_its_clock_less_the_training(rows: dict[str, Row]) -> None:
    assert rows[TORCH_DDP].around == pytest.approx(7.0)
    assert rows["2 ranks started by MPI"].around == pytest.approx(6.0)


def test_the_accuracy_is_that_of_the_evaluated_trial() -> None:
    made = bench(1, ("peers",), clock)
    evaluated = variant_trial(Configuration("variant", variant=TORCH_DDP, evaluate=True), 0)
    accuracy = {row.name: row.accuracy for row in compare(replace(made, variants=(*made.variants, evaluated)), SPREAD)}

    assert (accuracy[TORCH_DDP], accuracy[RAY_FIT]) == (0.98, None)


def test_the_proof_says_that_a_batch_of_128_on_each_worker_is_other_work(rows: dict[str, Row]) -> None:
    assert rows[RAY_FIT].work == "UNEQUAL: updates 234, the baseline's 468."
    assert rows[TORCH_DDP].work == "as much as the baseline's"


def test_the_table_is_markdown_and_says_what_was_skipped(rows: dict[str, Row]) -> None:
    text = render(bench(1, ("peers",), skipped=(TORCH,)), (), (), tuple(rows.values()))

    assert f"| {TORCH_DDP}" in text
    assert "skipped, not installed: PyTorch" in text
    assert max(map(len, text.splitlines())) <= 120


def test_the_chart_is_a_picture(rows: dict[str, Row], tmp_path: Path) -> None:
    draw(tuple(rows.values()), tmp_path / "images" / "peers.png")

    assert (tmp_path / "images" / "peers.png").read_bytes().startswith(b"\x89PNG")
