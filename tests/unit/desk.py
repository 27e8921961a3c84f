"""A machine on which tests run verbs one after the other."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fixtures.cli import main as command
from fixtures.errors import InfraError
from fixtures.settings.settings import Settings
from tests.contract.fake import FakeMachine, FakeProvider

WHOLE = FakeMachine(nodes=True, running=True, ray=True, kept=True)
STOPPED = FakeMachine(nodes=True, kept=True)


class Desk:
    """Runs verbs one after the other on one machine.

    Attributes:
        machine: what outlives each of them.
        settings: those of the last one.
        replaced: the command that took its place.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.machine = FakeMachine()
        self.settings = Settings()
        self.replaced: list[str] = []

    def run(self, *arguments: str, environ: Mapping[str, str] | None = None, **fake: Any) -> int:
        def make(settings: Settings, environ: Mapping[str, str], kubeconfig: Path | None) -> FakeProvider:
            self.settings = settings
            return FakeProvider(max(settings.workers), settings.cpus_per_worker, machine=self.machine, **fake)

        def replace(program: str, words: list[str], environ: dict[str, str]) -> None:
            self.replaced = words

        return command.main(arguments, environ or {}, make=make, root=self.root, replace=replace)

    def left(self, machine: FakeMachine) -> None:
        """Leave what an earlier process had."""
        self.machine = FakeMachine(machine.nodes, machine.running, machine.ray, machine.kept)


def fail(cause: str) -> Callable[[object], None]:
    """Return a method that fails with this cause."""

    def give_back(self: object) -> None:
        raise InfraError(cause)

    return give_back
