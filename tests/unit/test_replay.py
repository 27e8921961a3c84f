"""The gate's promises, replayed on histories with the measured noise; `make gate-selftest` replays a thousand each."""

import math
from pathlib import Path

import numpy as np
import pytest

from fixtures.history.gate import judge
from fixtures.history.replay import METRICS, Machine, Rate, Recorded, deviation, rates
from fixtures.history.selftest import Files, entry_of, line
from tests.unit.samples import SPEEDUP

RECORDED = Recorded.load()
SCENARIO = RECORDED.scenario


def test_the_noise_between_rounds_is_the_one_behind_the_measured_intervals() -> None:
    assert deviation({"rounds": 16, "interval": [1.569, 1.707]}) == pytest.approx(0.0791, abs=1e-4)
    assert deviation({"rounds": 16, "interval_seconds": [9.39, 10.85]}) == pytest.approx(0.1354, abs=1e-4)
    assert SCENARIO.deviations[SPEEDUP] == pytest.approx(0.0791, abs=1e-4)


@pytest.mark.parametrize(("between", "histories"), [(0.0, 20), (0.02, 150)])
def test_every_promise_is_kept_as_far_as_so_few_histories_can_tell(between: float, histories: int) -> None:
    found = list(rates(SCENARIO, between, histories, RECORDED.seeds["tests"]))

    for rate in found:
        for bound, sign in ((rate.most, 1), (rate.least, -1)):
            if bound is not None:  # two standard errors of so many histories
                slack = 2 * math.sqrt(bound * (1 - bound) / histories)
                assert sign * (rate.share - bound) <= slack, rate
    assert sum(rate.kept is not None for rate in found) == 6  # each has a bound, and none was left out


def test_beyond_the_noise_it_was_designed_for_the_gate_promises_nothing() -> None:
    assert {rate.kept for rate in rates(SCENARIO, 0.03, 2, 1)} == {None}


def test_equal_seeds_give_equal_rates_and_others_other_histories() -> None:
    one, same, other = (
        Machine(SCENARIO, 0.02, np.random.default_rng((seed, 0))).sample(0).measures[SPEEDUP].rounds
        for seed in (1, 1, 2)
    )

    assert one == same
    assert one != other


def test_a_history_is_judged_alike_through_files_and_without_them(tmp_path: Path) -> None:
    def samples(machine: Machine) -> list[str]:
        past = [machine.sample(number) for number in range(13)]
        current = machine.sample(13, 0.2)
        first = judge(past, current)
        final = judge(past, machine.again(current, first.rerun))
        return [f"{first.rerun} {each.kind} {each.change:.9f}" for each in (*first.findings, *final.alarms)]

    found = [
        samples(Machine(SCENARIO, 0.02, np.random.default_rng(5), through=through))
        for through in (None, Files(tmp_path))
    ]

    assert found[0] == found[1]
    assert "drop" in found[0][-1]
    assert len(list(tmp_path.glob("*.json"))) == 15


def test_what_a_file_holds_of_a_run_gives_its_figures_back() -> None:
    machine = Machine(SCENARIO, 0.02, np.random.default_rng(6))
    made = machine.again(machine.sample(0), 4)

    found = entry_of(made).sample

    for metric in METRICS:
        assert found.measures[metric].rounds == pytest.approx(made.measures[metric].rounds)
        assert found.measures[metric].rerun == pytest.approx(made.measures[metric].rerun)


def test_a_promise_that_is_not_kept_is_seen() -> None:
    broken = Rate("any alarm", 6, 100, most=0.05)
    missed = Rate("a loss, caught", 94, 100, least=0.95)

    assert (broken.kept, missed.kept) == (False, False)
    assert line(broken).endswith("at most 5.0%   NOT KEPT")
    assert line(missed).endswith("at least 95%   NOT KEPT")
