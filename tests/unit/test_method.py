"""The worked examples of METHOD.md are what the code computes."""

import math
from pathlib import Path
from statistics import correlation, fmean, stdev

import pytest
from scipy.special import stdtrit

from fixtures.analysis.spread import Spread
from fixtures.analysis.summary import summarise
from fixtures.history import gate, sample
from fixtures.history.replay import Recorded
from fixtures.history.sample import Estimate
from tests.unit.recorded import recorded_night
from tests.unit.samples import SPEEDUP

TEXT = (Path(__file__).parents[2] / "docs/METHOD.md").read_text(encoding="utf-8")
ROUND = Recorded.load().scenario.deviations[SPEEDUP]
ROUNDS = Recorded.load().scenario.rounds


def shown(*figures: str) -> None:
    for figure in figures:
        assert figure in TEXT, figure


def test_the_interval_of_the_worked_example_is_students() -> None:
    quantile = float(stdtrit(15, 0.975))
    half = quantile * ROUND / 4

    shown(f"{quantile:.3f}", f"{ROUND:.3f} / sqrt(16) = {ROUND / 4:.4f}", f"= {half:.3f}")
    shown(f"= {math.exp(0.492 - half):.2f} to", f"= {math.exp(0.492 + half):.2f} |", f"{ROUND:.1%}".replace("%", " %"))


def test_the_break_even_of_the_worked_example_is_that_of_the_recorded_night() -> None:
    compared = summarise(recorded_night("equal"), Spread.load()).of(2)
    pays, speedup = compared.pays, compared.speedup
    assert pays
    assert pays.with_cluster_start
    assert pays.copies
    assert speedup
    even, started, saved = pays.with_ray_up, pays.with_cluster_start, fmean(pays.with_ray_up.saved)

    shown(f"{fmean(pays.together.outside):.2f} s, {fmean(pays.alone.outside):.2f} s |")
    shown(f"{fmean(pays.alone.epoch):.2f} s, {fmean(pays.together.epoch):.2f} s |")
    for part in (even, started):
        assert part.interval
        assert part.epochs
        shown(f"{fmean(part.extra):.2f} / {saved:.2f} = {part.epochs:.2f} epochs")
        shown(f"{part.interval.low:.2f} to {part.interval.high:.2f}")
    shown(f"{pays.baseline_seconds(even.epochs or 0):.1f} s of the baseline's training", f"start of {pays.start:.1f} s")
    shown(f"{stdev(even.extra):.2f} s, {stdev(even.saved):.2f} s, {correlation(even.extra, even.saved):.2f} |")
    shown(f"{float(stdtrit(5, 0.975)):.3f} |", f"training is {speedup.estimate:.2f}x as fast")
    shown(f"{pays.together.core_seconds(1):.1f} core-seconds with two workers and {pays.alone.core_seconds(1):.1f}")
    side_by_side, in_turn = (jobs.seconds(1) for jobs in pays.copies)
    shown(f"{side_by_side / 2:.1f} s for each configuration against {in_turn:.1f} s")


def test_the_limit_of_the_worked_example_is_the_gates() -> None:
    of_rounds = ROUND**2 / ROUNDS
    scatter = gate.DESIGN_BETWEEN**2 + of_rounds
    reference = gate.Reference(0.0, gate.DESIGN_BETWEEN**2, ROUND**2, scatter / gate.REFERENCE)
    error = reference.error(Estimate(0.0, 0.0, 74))
    alpha = gate.FALSE_ALARMS["speedup"] / (gate.HORIZON - gate.REFERENCE)
    quantile = float(stdtrit(gate.PRIOR + gate.REFERENCE - 1, 1 - alpha))

    shown(
        f"= {math.sqrt(of_rounds):.4f}", f"= {math.sqrt(scatter):.4f}", f"= {math.sqrt(reference.level_variance):.4f}"
    )
    shown(f"= {error:.4f}", f"{quantile:.3f} x {error:.4f} = {quantile * error:.3f}, a drop of")
    shown(f"{-math.expm1(-quantile * error):.1%}".replace("%", " % |"), f"{alpha:.3%}".replace("%", " %"))


def test_the_constants_of_the_text_are_those_of_the_gate() -> None:
    shown(
        f"first {gate.REFERENCE} comparable nights",
        f"histories of {gate.HORIZON} nights",
        f"3 of {gate.REFERENCE} nights",
    )
    shown(f"{sample.WILD} median absolute deviations", f"x {sample.TO_DEVIATION}", f"counts like {gate.PRIOR} nights")
    shown(
        *(
            f"{share:.1%}".replace("%", " %") + f" to the {name}"
            for name, share in (("speedup", 0.034), ("overhead", 0.002))
        )
    )
    assert dict(gate.FALSE_ALARMS) == pytest.approx({"speedup": 0.034, "training": 0.002, "overhead": 0.002})
    shown(f"{gate.LIMITS['speedup'].factor:.0%}".replace("%", " % of speedup"))
    shown(f"{gate.LIMITS['training'].factor:.0%}".replace("%", " % of training time"))
    shown(f"{gate.LIMITS['overhead'].factor:.0%}".replace("%", " % of overhead"))
    shown(f"{gate.RERUN_ERROR:.1%}".replace("%", " %"), f"limits {gate.WILD_CARE - 1:.0%}".replace("%", " % wider"))
