"""A provider without a cluster: what the rest of the harness may rely on, and nothing more."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from fixtures.cluster import Cluster, Node, Problem, Report
from fixtures.errors import Infra
from fixtures.evidence import write_evidence


class FakeProvider:
    """Keeps the contract in memory; the arguments make it fail on purpose."""

    name = "fake"
    owned = True

    def __init__(
        self, workers: int, cpus_per_worker: int, *, problems: tuple[Problem, ...] = (), fails: str = ""
    ) -> None:
        """A provider of `workers` nodes; `fails` is the cause that `up` gives up with."""
        self._nodes = tuple(Node(f"worker-{index + 1}", cpus_per_worker) for index in range(workers))
        self._problems = problems
        self._fails = fails
        self._up = False

    def preflight(self) -> tuple[Problem, ...]:
        """The problems it was made with."""
        return self._problems

    def up(self, report: Report) -> Cluster:
        """A handle that leads nowhere."""
        report("starting nothing")
        if self._fails:
            raise Infra(self._fails, "Give the fake no failure.")
        self._up = True
        return Cluster(
            dashboard="http://127.0.0.1:1",
            token="secret-of-the-fake",
            nodes=self._nodes,
            python="python",
            data="mnist.npz",
            usable_cores=sum(node.cpus for node in self._nodes),
            reserve=0,
        )

    def load_image(self, report: Report) -> Mapping[str, str]:
        """One digest for all nodes."""
        report("loading nothing")
        return {node.name: "f" * 64 for node in self._nodes}

    def scale(self, workers: int, report: Report) -> None:
        """Nothing to do."""

    def trouble(self) -> str:
        """Whether it is up."""
        return "" if self._up else "The fake is not up."

    def processes(self) -> frozenset[int]:
        """It has none."""
        return frozenset()

    def collect_evidence(self, into: Path) -> None:
        """A folder with one line."""
        write_evidence({"fake.log": "nothing happened\n"}, into)

    def keep_running(self) -> None:
        """It holds nothing that could outlive this process."""

    def down(self) -> None:
        """Forget that it is up."""
        self._up = False
