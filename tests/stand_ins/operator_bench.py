"""A fake cluster, a fake Helm and a small chart, for tests of the operator."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fixtures.clusters.kubernetes.access.api import Api
from fixtures.clusters.kubernetes.operator.chart import Source
from fixtures.clusters.kubernetes.operator.operator import Operator
from tests.stand_ins.fake_helm import FakeHelm, make_chart
from tests.stand_ins.fake_kubernetes import FakeKubernetes
from tests.stand_ins.kubernetes_store import FakeClock

NS = "ray-train-e2e"
LABEL = "app.kubernetes.io/managed-by"


class Server(FakeKubernetes):
    """Establishes CRDs as a real API server does, after some seconds."""

    conditions: tuple[Mapping[str, str], ...] | None = ({"type": "Established", "status": "True"},)

    def apply(self, at: Any, manifest: Any) -> Any:
        stored = super().apply(at, manifest)
        if manifest["kind"] == "CustomResourceDefinition":
            stored["status"] = {"conditions": self.conditions}
        return stored


def raycluster(namespace: str, name: str) -> dict[str, Any]:
    return {"apiVersion": "ray.io/v1", "kind": "RayCluster", "metadata": {"namespace": namespace, "name": name}}


@dataclass
class Bench:
    """A fake cluster, a fake Helm, and operators over them."""

    fake: Server
    helm: FakeHelm
    api: Api
    folder: Path
    lines: list[str] = field(default_factory=list)

    def operator(self, **options: Any) -> Operator:
        given: Path | None = options.pop("given", self.folder / "chart")
        return Operator(
            self.api,
            self.helm,
            namespace=NS,
            kubeconfig=Path("/c"),
            context="ours",
            source=Source(self.helm, self.folder / "cache", given),
            **options,
        )

    def up(self) -> Operator:
        return self.make(self.operator())

    def make(self, operator: Operator) -> Operator:
        """That operator, once it is available."""
        operator.adopt_or_install(self.lines.append)
        operator.wait_available(self.lines.append)
        return operator

    def changed(self) -> list[str]:
        """What was written to the cluster, without Helm's share."""
        return [f"{each.method} {each.path.rsplit('/', 1)[1]}" for each in self.fake.requests if each.method != "GET"]

    def definitions(self) -> set[str]:
        return {each["metadata"]["name"] for each in self.api.list("CustomResourceDefinition")}


def make_bench(folder: Path) -> Iterator[Bench]:
    fake = Server(FakeClock())
    with fake:
        fake.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NS}})
        make_chart(folder / "chart")
        api = Api(fake.kubeconfig(folder), None, clock=fake.clock)
        yield Bench(fake, FakeHelm(fake), api, folder)
