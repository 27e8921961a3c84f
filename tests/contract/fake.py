"""A provider without a cluster: what the rest of the harness may rely on, and nothing more."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fixtures.clusters.contract import Cluster, Dashboard, Node, Problem, Report, Status
from fixtures.clusters.evidence import write_evidence
from fixtures.errors import InfraError, UsageError


@dataclass
class FakeMachine:
    """What outlives a process: hand it to several fakes, and each is the provider of another process.

    Attributes:
        nodes: whether the cluster's nodes are there.
        running: whether they run.
        ray: whether Ray is there.
        kept: whether a process that has ended wanted to keep it.
    """

    nodes: bool = False
    running: bool = False
    ray: bool = False
    kept: bool = False


class FakeProvider:
    """Keeps the contract in memory; the arguments make it fail on purpose."""

    name = "fake"
    owned = True

    def __init__(
        self,
        workers: int,
        cpus_per_worker: int,
        *,
        problems: tuple[Problem, ...] = (),
        fails: str = "",
        interrupted: bool = False,
        machine: FakeMachine | None = None,
        unstoppable: str = "",
    ) -> None:
        """A provider of `workers` nodes.

        Args:
            workers: nodes.
            cpus_per_worker: of each.
            problems: what preflight finds.
            fails: the cause that `up` gives up with, half-way.
            interrupted: whether Ctrl-C is pressed while `up` waits for Ray.
            machine: what earlier processes left.
            unstoppable: why its nodes cannot be stopped.
        """
        self.unstoppable = unstoppable
        self._nodes = tuple(Node(f"worker-{index + 1}", cpus_per_worker) for index in range(workers))
        self._problems = problems
        self._fails, self._interrupted = fails, interrupted
        self._machine = machine or FakeMachine()
        self._held = False
        self._found: FakeMachine | None = None
        self.replaced: list[str] = []

    def preflight(self) -> tuple[Problem, ...]:
        """The problems it was made with."""
        return self._problems

    def up(self, report: Report) -> Cluster:
        """A handle that leads nowhere."""
        report("starting nothing")
        self._hold()
        self._machine.nodes = self._machine.running = True
        if self._interrupted:
            raise KeyboardInterrupt
        if self._fails:
            raise InfraError(self._fails, "Give the fake no failure.")
        self._machine.ray = True
        return Cluster(
            dashboard="http://127.0.0.1:1",
            token="secret-of-the-fake",
            nodes=self._nodes,
            image={node.name: "f" * 64 for node in self._nodes},
            python="python",
            data="mnist.npz",
            usable_cores=sum(node.cpus for node in self._nodes),
            reserve=0,
        )

    def scale(self, workers: int, report: Report) -> None:
        """Nothing to do."""

    def replace(self, node: str, report: Report) -> None:
        """Remember which node."""
        self.replaced.append(node)

    def trouble(self) -> str:
        """Whether it is up."""
        return "" if self._held and self._machine.ray else "The fake is not up."

    def processes(self) -> frozenset[int]:
        """It has none."""
        return frozenset()

    def collect_evidence(self, into: Path, cause: str = "") -> None:
        """A folder with one line."""
        write_evidence({"fake.log": "nothing happened\n"}, into, cause)

    def keep_running(self) -> None:
        """Remember it on the machine."""
        self._machine.kept, self._held = True, False

    def down(self) -> None:
        """Forget what is held."""
        if self._held:
            self._machine.nodes = self._machine.running = self._machine.ray = False
        self._held = False

    def give_back(self) -> None:
        """Put the machine back to what it was."""
        if self._found is None:
            self.down()
            return
        self._machine.ray, self._machine.kept = self._found.ray, True
        self._held = False

    def claim(self, report: Report) -> bool:
        """Whether the machine has something."""
        if not self._machine.nodes:
            return False
        self._hold()
        return True

    def reset(self, report: Report) -> None:
        """Ray goes, the nodes stay."""
        self._machine.ray = False

    def stop(self, report: Report) -> None:
        """The nodes stop, and Ray with them."""
        if self.unstoppable:
            raise UsageError(self.unstoppable)
        self._machine.running = self._machine.ray = False

    def status(self) -> Status:
        """What the machine has."""
        machine = self._machine
        missing = next(
            (said for good, said in ((machine.nodes, "there is nothing"), (machine.ray, "no Ray runs")) if not good), ""
        )
        return Status((("machine", str(machine)),), missing, "" if missing else "http://127.0.0.1:1")

    def dashboards(self) -> tuple[Dashboard, ...]:
        """One that leads nowhere, while Ray is there."""
        return (Dashboard("Ray", "http://127.0.0.1:1", token="secret-of-the-fake"),) if self._machine.ray else ()

    def logs(self) -> Mapping[str, str]:
        """Two files, while Ray is there."""
        return {"raylet.out": "one\ntwo\nthree\n", "gcs_server.out": "begun\n"} if self._machine.ray else {}

    def _hold(self) -> None:
        if not self._held and self._machine.kept:
            self._found = FakeMachine(self._machine.nodes, self._machine.running, self._machine.ray, True)
        self._machine.kept, self._held = False, True
