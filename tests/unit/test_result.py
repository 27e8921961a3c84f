"""The result line: whole, or an error that says what is wrong with it."""

import hashlib
import json
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.trials import result, spec, with_epoch, with_rank
from trainer.reading import BrokenResultError
from trainer.result import MARKER, TrialResult, decode, encode

TRIAL = result(spec(2))
LINE = encode(TRIAL)
FIGURES = st.floats(-1e50, 1e50)
SECONDS = st.floats(1e-9, 1e9)


def line_of(content: Any) -> str:
    """A line around any content, its length and hash right."""
    body = content if isinstance(content, str) else json.dumps(content)
    return f"{MARKER} {len(body)} {hashlib.sha256(body.encode()).hexdigest()} {body}"


def content() -> Any:
    return json.loads(LINE.split(" ", 3)[3])


RANKS = st.fixed_dictionaries(
    {
        "host": st.text(),
        "seed": st.integers(-(10**18), 10**18),
        "marks": st.dictionaries(st.text(), SECONDS, max_size=3),
        "means": st.builds(replace, st.just(TRIAL.ranks[1].means), quota=st.none() | FIGURES),
    }
)
EPOCHS = st.fixed_dictionaries(
    {
        "loss": FIGURES,
        "seconds": SECONDS,
        "accuracy": st.none() | FIGURES,
        "first_losses": st.lists(FIGURES, max_size=3).map(tuple),
    }
)


@settings(deadline=None)
@given(RANKS, EPOCHS)
def test_every_figure_arrives_as_it_was_sent(rank: dict[str, Any], epoch: dict[str, Any]) -> None:
    sent = with_epoch(with_rank(TRIAL, 1, **rank), 0, **epoch)

    line = encode(sent)

    assert decode(f"before\n{line}\nafter\n") == sent
    assert line.splitlines() == [line]


def test_the_line_is_found_among_others_and_without_a_last_line_feed() -> None:
    assert decode(f"TRIAL-PROGRESS {{}}\n{LINE}") == decode(f"{LINE}\r\nbye") == TRIAL


@pytest.mark.parametrize(
    ("log", "complaint"),
    [
        *((log, "expected one TRIAL-RESULT line in the job's log, found 0") for log in ("", "\n\n", "epoch 1\n")),
        *((f"{MARKER}{more}", "found 0") for more in ("", "S 1 2 3")),
        *((before + LINE, "found 0") for before in ("(TrainController pid=7) ", "\x1b[36m", " ", "x")),
        (f"{LINE}\n{LINE}\n", "found 2"),
        *((LINE + after, "announces") for after in ("\x1b[0m", " ", "another process wrote here")),
    ],
)
def test_a_log_without_one_line_of_its_own_is_an_error(log: str, complaint: str) -> None:
    with pytest.raises(BrokenResultError, match=complaint):
        decode(log)


@settings(deadline=None)
@given(st.integers(0, len(LINE) - 1))
def test_a_line_that_is_cut_anywhere_is_an_error(length: int) -> None:
    with pytest.raises(BrokenResultError, match=r"found 0|is cut"):
        decode(LINE[:length])


@settings(deadline=None)
@given(st.integers(len(MARKER) + 1, len(LINE) - 1), st.sampled_from("0 a}x\t"))
def test_a_line_with_one_other_character_is_an_error(at: int, other: str) -> None:
    damaged = LINE[:at] + other + LINE[at + 1 :]

    if damaged != LINE:
        with pytest.raises(BrokenResultError, match=r"cut|SHA-256"):
            decode(damaged)


@pytest.mark.parametrize(
    ("path", "named"),
    [
        (("seed",), "TrialResult.seed"),
        (("ranks",), "TrialResult.ranks"),
        (("ranks", 1, "means", "cores"), r"TrialResult.ranks\[1\].means.cores"),
        (("ranks", 0, "epochs", 1, "accuracy"), r"TrialResult.ranks\[0\].epochs\[1\].accuracy"),
        (("ranks", 0, "probe", "weights"), r"TrialResult.ranks\[0\].probe.weights"),
    ],
)
def test_a_figure_that_is_missing_is_named(path: tuple[Any, ...], named: str) -> None:
    whole = inner = content()
    for step in path[:-1]:
        inner = inner[step]
    del inner[path[-1]]

    with pytest.raises(BrokenResultError, match=f"{named} is missing from the result"):
        decode(line_of(whole))


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("loss", "0.1", "loss: expected float, got '0.1'"),
        ("loss", None, "loss: expected float, got None"),
        ("loss", True, "loss: expected float, got True"),
        ("updates", 1.5, "updates: expected int, got 1.5"),
        ("updates", False, "updates: expected int, got False"),
        ("weights", 7, "weights: expected str, got 7"),
        ("accuracy", "none", "accuracy: expected float, got 'none'"),
        ("first_losses", 0.5, "first_losses: expected a list, got 0.5"),
        ("first_losses", [0.5, None], r"first_losses\[1\]: expected float, got None"),
    ],
)
def test_a_figure_of_another_type_is_named(name: str, value: object, complaint: str) -> None:
    whole = content()
    whole["ranks"][0]["epochs"][0][name] = value

    with pytest.raises(BrokenResultError, match=rf"TrialResult.ranks\[0\].epochs\[0\].{complaint}"):
        decode(line_of(whole))


@pytest.mark.parametrize("other", [[], 7, None])
def test_content_that_is_no_object_is_an_error(other: object) -> None:
    with pytest.raises(BrokenResultError, match="TrialResult: expected an object"):
        decode(line_of(other))


def test_a_whole_number_will_do_for_a_float_and_absent_stays_none() -> None:
    whole = content()
    whole["ranks"][0]["epochs"][0].update(seconds=5, accuracy=None)

    epoch = decode(line_of(whole)).ranks[0].epochs[0]
    assert isinstance(epoch.seconds, float)
    assert epoch.accuracy is None


@pytest.mark.parametrize("figure", [math.nan, math.inf, -math.inf])
def test_a_figure_that_is_no_number_is_not_sent(figure: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        encode(with_epoch(TRIAL, 0, loss=figure))


def test_a_trial_without_ranks_or_epochs_has_no_training_time_and_is_refused_when_it_is_read() -> None:
    nobody = replace(TRIAL, ranks=())
    idle = with_rank(TRIAL, 1, epochs=())

    for trial, complaint in ((nobody, "no rank reported its work"), (idle, "rank 1 reported no epoch")):
        with pytest.raises(BrokenResultError, match=f"{complaint}: the trial has no training time"):
            _ = trial.train_seconds
        with pytest.raises(BrokenResultError, match=complaint):
            decode(encode(trial))


def test_the_slowest_rank_counts_and_the_last_accuracy_of_rank_0() -> None:
    slow: TrialResult = with_epoch(TRIAL, 1, epoch=1, seconds=9.0)

    assert TRIAL.train_seconds == pytest.approx(10.0)
    assert slow.train_seconds == pytest.approx(14.0)
    assert TRIAL.accuracy == 0.986
