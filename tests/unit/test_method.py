"""The worked examples of METHOD.md are what the code computes."""

import math
from pathlib import Path

import pytest
from scipy.special import stdtrit

from fixtures.history import gate, sample
from fixtures.history.replay import Recorded
from fixtures.history.sample import Estimate
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
