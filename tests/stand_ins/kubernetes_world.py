"""Everything that a provider on Kubernetes works with, played: engine, image, API with KubeRay, Helm, kubectl, Ray.

Each step is noted in one list, in the order in which it is taken, and can be made to fail before or after it is done.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest

from fixtures.clusters.contract import Problem, Report, Status
from fixtures.clusters.kubernetes import provider as module
from fixtures.clusters.kubernetes.access.api import Api
from fixtures.clusters.kubernetes.engines import engine as contract
from fixtures.clusters.kubernetes.plan import Plan
from fixtures.clusters.kubernetes.provider import KubernetesProvider
from fixtures.clusters.ray_state import node_states
from fixtures.system.programs import Completed, Tool
from tests.stand_ins.fake_helm import FakeHelm, make_chart
from tests.stand_ins.fake_kuberay import CRD, DIGEST, IMAGE, SPACE, Dashboard, Server
from tests.stand_ins.http_server import answering
from tests.unit.recordings import node


class Engine(contract.Engine):
    """A cluster that is there at once; `owned` says whether it goes with `down`."""

    def __init__(
        self, world: "World", *, name: str = "minikube", owned: bool = True, host: str | None = "127.0.0.1"
    ) -> None:
        self.world, self.name, self.owned, self.host = world, name, owned, host
        self.reserve = int(owned)
        self.kubeconfig: Path | None = world.kubeconfig
        self.context = self.node_port = self.grafana_port = None
        self.brings_metrics, self.unstoppable = True, ""
        self.there = not owned
        self.problems: tuple[Problem, ...] = ()
        self.pids: frozenset[int] | None = frozenset({1})
        self.lost: Mapping[str, str] = {}

    def preflight(self) -> tuple[Problem, ...]:
        return self.problems

    def exists(self) -> bool:
        return self.there

    @property
    def inherited(self) -> bool:
        return not self.owned

    def up(self, report: Report) -> None:
        with self.world.step("cluster"):
            self.there = True

    def attach(self) -> bool:
        return self.there

    def give_back(self) -> None:
        self.world.steps.append("give cluster back")

    def stop(self, report: Report) -> None:
        self.world.steps.append("stop cluster")

    def status(self) -> Status:
        return Status((("cluster", "played"),), "" if self.there else "There is none.")

    def usable_cores(self) -> int | None:
        return 4 if self.owned else None

    def address(self) -> str | None:
        with self.world.step("way"):
            return self.host

    def processes(self) -> frozenset[int] | None:
        return self.pids

    def evidence(self) -> Mapping[str, str]:
        return {"engine.txt": "all is well"}

    def lost_nodes(self) -> Mapping[str, str]:
        return self.lost

    def keep_running(self) -> None:
        self.world.steps.append("keep cluster")

    def down(self) -> None:
        with self.world.step("remove cluster"):
            self.there = self.there and not self.owned


class ImageDistribution:
    """An image that is everywhere."""

    reference = IMAGE

    def __init__(self, world: "World", *, imported: bool = True, **versions: str | None) -> None:
        self.world, self.imported = world, imported
        ray, python = ("client_ray", "image_ray"), ("client_python", "image_python")
        self.known = {**dict.fromkeys(ray, "2.60.0"), **dict.fromkeys(python, "3.11"), **versions}

    def preflight(self) -> tuple[Problem, ...]:
        return ()

    def versions(self) -> dict[str, str | None]:
        return self.known

    def begin(self, report: Report) -> None:
        self.world.steps.append("begin image")

    def bring(self, nodes: Sequence[str], report: Report) -> tuple[str, bool, Mapping[str, str]]:
        with self.world.step("image"):
            return IMAGE, self.imported, dict.fromkeys(nodes, DIGEST) if self.imported else {}

    def digests_of_pods(self, pods: Sequence[Any]) -> Mapping[str, str]:
        return {each["spec"]["nodeName"]: DIGEST for each in pods}

    def stop(self) -> None:
        self.world.steps.append("stop image")


class World:
    """What a test sees of it all, and how it makes it fail.

    Attributes:
        steps: what was done, in order; what is repeated at once is noted once.
        environ: that of the programs.
        trap: the step that fails, whether "before" or "after" it is done, and how.
    """

    def __init__(self, folder: Path, server: Server, dashboard: Dashboard) -> None:
        self.folder, self.server, self.dashboard = folder, server, dashboard
        self.steps: list[str] = []
        self.trap: tuple[str, str, BaseException] | None = None
        self.said: list[str] = []
        self.environ: Mapping[str, str] = {}
        self.helm = Helm(self)
        self.kubectl = Kubectl(self)
        self.kubeconfig = server.kubeconfig(folder)
        self.chart = make_chart(folder / "chart", crds=(CRD,))

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Note a step, and fail where that is asked for."""
        if not self.steps or self.steps[-1] != name:
            self.steps.append(name)
        self._spring(name, "before")
        yield
        self._spring(name, "after")

    def _spring(self, name: str, when: str) -> None:
        if self.trap and self.trap[:2] == (name, when):
            raise self.trap[2]

    def up(self, engine: Engine | None = None, **options: Any) -> KubernetesProvider:
        """One whose cluster has come up."""
        provider = self.provider(engine, **options)
        provider.up(self.said.append)
        return provider

    def cut_off(self, provider: KubernetesProvider, *trap: Any) -> None:
        """Let the start of a provider end in a trap, which is then no longer set."""
        self.trap = trap
        with pytest.raises(type(trap[2])):
            provider.up(self.said.append)
        self.trap = None

    def provider(
        self,
        engine: Engine | None = None,
        supply: ImageDistribution | None = None,
        *,
        owned: bool = True,
        **options: Any,
    ) -> KubernetesProvider:
        """One that was just made; `options` are the plan's, or `chart`, or `versions`."""
        own: dict[str, Any] = {key: options.pop(key) for key in ("chart", "versions", "environ") if key in options}
        ports = (self.server.node_port or 30265, 30300)  # the played cluster has its NodePort where Ray is played
        plan = Plan(**{"namespace": SPACE, "workers": 2, "cpus": 1, "ports": ports, **options})
        given: dict[str, Any] = {"chart": self.chart, "versions": lambda **_: (), **own}
        environ = given.pop("environ", {"PATH": ""})
        played: Any = supply or ImageDistribution(self)
        engine = engine or Engine(self, owned=owned)
        return KubernetesProvider(engine, played, plan, environ, cache=self.folder / "cache", **given)

    def left(self) -> set[str]:
        """The kinds of object that there are."""
        return {each.split()[0] for each in self.server.everything()}

    def writes(self) -> list[str]:
        """What was written to the API, Helm's share left out."""
        return [f"{each.method} {each.path.rsplit('/', 1)[1]}" for each in self.server.requests if each.method != "GET"]


class Helm(FakeHelm):
    """Notes what it is asked to change."""

    def __init__(self, world: World) -> None:
        super().__init__(world.server)
        self._world = world
        self.there = True

    def found(self) -> Path | None:
        return super().found() if self.there else None

    def run(self, *arguments: str, timeout: float, stdin: IO[bytes] | None = None, check: bool = True) -> Completed:
        if arguments[0] == "status":
            return super().run(*arguments, timeout=timeout, check=check)
        with self._world.step({"upgrade": "operator", "uninstall": "remove operator"}[arguments[0]]):
            return super().run(*arguments, timeout=timeout, check=check)


class Kubectl(Tool):
    """Runs in pods what is to run there, by saying what it would say.

    Attributes:
        asked: pod -> arguments of the script.
        answers: pod -> what it says instead of "all is well".
    """

    def __init__(self, world: World, path: Path | None = Path("/nowhere/kubectl")) -> None:
        super().__init__("kubectl", {})
        self._world, self.path = world, path
        self.asked: dict[str, list[str]] = {}
        self.answers: dict[str, Callable[[], Completed]] = {}

    def found(self) -> Path | None:
        return self.path

    def run(self, *arguments: str, timeout: float, stdin: IO[bytes] | None = None, check: bool = True) -> Completed:
        with self._world.step("network"):
            pod = arguments[arguments.index("exec") + 1]
            self.asked[pod] = list(arguments)
            done = self.answers.get(pod, lambda: Completed(0, "{}\n", ""))()
            if check and done.code:
                raise self.failure(arguments, done)
            return done


@contextmanager
def world(folder: Path, patch: pytest.MonkeyPatch) -> Iterator[World]:
    """A world with a node of eight CPUs."""
    server = Server()
    dashboard = Dashboard(server)
    with server, answering(dashboard.answer) as address:
        server.node_port = int(address.rpartition(":")[2])
        server.put({"apiVersion": "v1", **node("a", cpu="8", memory="32Gi")})
        made = World(folder, server, dashboard)

        class Noted(Api):
            """Notes what is done by it."""

            def __init__(self, kubeconfig: Path | None, context: str | None, **options: Any) -> None:
                super().__init__(kubeconfig, context, clock=server.clock, **options)

            def apply(self, manifest: Any) -> Any:
                with made.step(f"apply {manifest['kind']}"):
                    return super().apply(manifest)

            def delete(self, kind: str, name: str, namespace: str | None = None) -> None:
                with made.step(f"delete {kind}"):
                    super().delete(kind, name, namespace)

            def list(self, kind: str, namespace: str | None = None, *, labels: str = "", fields: str = "") -> Any:
                if kind == "Pod" and namespace is None and not labels:
                    with made.step("capacity"):
                        return super().list(kind)
                return super().list(kind, namespace, labels=labels, fields=fields)

        def tool(name: str, environ: Mapping[str, str]) -> Tool:
            made.environ = environ
            return {"helm": made.helm, "kubectl": made.kubectl}.get(name) or Tool(name, environ)

        def nodes(dashboard: str, token: str) -> Any:
            with made.step("Ray's nodes"):
                return node_states(dashboard, token)

        patch.setattr(module, "Api", Noted)
        patch.setattr(module, "Tool", tool)
        patch.setattr(module, "node_states", nodes)
        yield made
