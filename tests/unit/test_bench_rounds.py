"""The rounds of a bench: what runs in which order, and what is left as data."""

import json
from collections import Counter

import pytest

from benchmarks.rounds import BATCH, GROUPS, SCRIPTS, VARIANTS, Bench, Configuration, configurations
from fixtures.errors import MissingResultError
from tests.unit.benches import bench


def test_every_configuration_runs_once_in_a_round() -> None:
    names = [trained.name for trained in configurations(GROUPS, 1)]

    assert len(set(names)) == len(names) == 8 + len(SCRIPTS) + 3
    assert {"baseline", "2 workers", "2 copies", "2 ranks without Ray", "2 ranks started by MPI"} <= set(names)


def test_the_order_rotates_by_one_from_round_to_round() -> None:
    first, second = configurations(("ray",), 1), configurations(("ray",), 2)

    assert second == (*first[1:], first[0])
    assert configurations(("ray",), 4) == first


def test_batch_256_runs_in_odd_rounds_and_512_in_even_ones() -> None:
    sizes = [{trained.batch_size for trained in configurations(("batches",), number)} for number in (1, 2, 3)]

    assert sizes == [{256}, {512}, {256}]


@pytest.mark.parametrize(
    ("groups", "kinds"),
    [
        (("ray",), {"baseline": 1, "workers": 1, "copies": 1}),
        (("noray",), {"baseline": 1, "workers": 1, "ranks": 1}),
        (("helpers",), {"baseline": 1, "workers": 1, "trimmed": 1}),
        (("variants",), {"baseline": 1, "variant": len(VARIANTS)}),
        (("batches",), {"baseline": 1, "workers": 1, "copies": 1}),
        (("keras",), {"baseline": 1, "keras": 1}),
        (("ray", "noray"), {"baseline": 1, "workers": 1, "copies": 1, "ranks": 1}),
        (("peers",), {"baseline": 1, "workers": 1, "tensorflow": 1, "mpi": 1, "variant": 5}),
    ],
)
def test_a_group_runs_what_it_compares_and_the_baseline_that_its_work_is_proven_against(
    groups: tuple[str, ...], kinds: dict[str, int]
) -> None:
    assert Counter(trained.kind for trained in configurations(groups, 1)) == kinds


def test_round_0_tests_what_every_peer_learnt_and_nothing_else_is_tested() -> None:
    evaluated = configurations(GROUPS, 0)

    assert {trained.kind for trained in evaluated} == {"baseline", "workers", "tensorflow", "mpi", "variant"}
    assert {trained.spec(1).kind for trained in evaluated if trained.kind != "variant"} == {"accuracy"}
    assert all(trained.evaluate for trained in evaluated)
    assert not any(trained.evaluate for trained in configurations(GROUPS, 1))


def test_what_is_skipped_runs_in_no_round() -> None:
    every = {trained.name for trained in configurations(("peers",), 1)}

    assert {trained.name for trained in configurations(("peers",), 1, ("PyTorch",))} == every - {"PyTorch"}


def test_ranks_without_ray_and_workers_have_the_same_work() -> None:
    assert Configuration("ranks").spec(7) == Configuration("workers").spec(7)
    assert (Configuration("copies").spec(7).workers, Configuration("copies").spec(7).copies) == (0, 2)


def test_another_batch_size_shows_in_the_name() -> None:
    assert Configuration("workers", BATCH).name == "2 workers"
    assert Configuration("workers", 256).name == "2 workers, batch 256"


def test_a_bench_survives_its_json() -> None:
    made = bench(2, set_aside={"1": "noise"})

    assert Bench.from_json(made.to_json()) == made


def test_json_that_lacks_a_figure_is_refused_by_its_name() -> None:
    value = json.loads(bench(1).to_json())
    del value["variants"][0]["result"]["loss"]

    with pytest.raises(MissingResultError, match=r"variants\[0\]\.result\.loss is missing"):
        Bench.from_json(json.dumps(value))


def test_rounds_set_aside_do_not_count() -> None:
    made = bench(3, set_aside={"2": "noise"})

    assert set(made.timed(Configuration("baseline"))) == {1, 3}
    assert set(made.timed(Configuration("variant", variant="Keras 3 fit"))) == {1, 3}
