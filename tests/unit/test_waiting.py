"""Waiting: what ends it, what is told meanwhile."""

import pytest

from fixtures.errors import InfraError
from fixtures.system.text import count
from fixtures.system.waiting import Clock, wait_while


class Minutes(Clock):
    """Lets time pass at once."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds


def test_a_wait_ends_when_nothing_is_missing_and_tells_each_change_once() -> None:
    answers, told = iter(["2 nodes", "2 nodes", "1 node", ""]), list[str]()

    assert wait_while(lambda: next(answers), 10, every=1, report=told.append, clock=Minutes()) == ""
    assert told == ["2 nodes", "1 node"]


def test_a_wait_returns_what_is_still_missing_at_its_deadline() -> None:
    clock = Minutes()

    assert wait_while(lambda: "a node", 10, every=3, clock=clock) == "a node"
    assert clock.seconds <= 10


def test_a_look_that_finds_the_cause_ends_the_wait() -> None:
    def look() -> str:
        raise InfraError("The image is not on the node.")

    with pytest.raises(InfraError, match="not on the node"):
        wait_while(look, 10, every=1, clock=Minutes())


@pytest.mark.parametrize(("number", "text"), [(0, "0 rounds"), (1, "1 round"), (2, "2 rounds")])
def test_a_count_has_its_noun_in_the_right_number(number: int, text: str) -> None:
    assert count(number, "round") == text
