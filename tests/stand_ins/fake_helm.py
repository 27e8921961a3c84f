"""A Helm without Helm: remembers what it was asked, and does to a fake cluster what the real one would."""

import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import IO, Any

import yaml

from fixtures.system.programs import Completed, Tool
from tests.stand_ins.fake_kubernetes import FakeKubernetes

DATA = Path(__file__).parents[1] / "data" / "operator"
NAME = "kuberay-operator"
CRDS = ("rayclusters.ray.io", "rayjobs.ray.io")
FIELDS = ("authOptions", "headGroupSpec", "rayVersion", "workerGroupSpecs", "tlsOptions")
OUR_LABELS = {"labels": {"app.kubernetes.io/part-of": "ray-train-e2e"}}


def recorded(name: str) -> Any:
    return json.loads((DATA / f"{name}.json").read_text())


def deployment(namespace: str, *, ours: bool = False, arguments: tuple[str, ...] = (), **spec: Any) -> dict[str, Any]:
    """The recorded Deployment of an operator, available, in another namespace and with other arguments."""
    made: dict[str, Any] = deepcopy(recorded("deploy-operator-image-missing")["items"][0])
    made["metadata"]["namespace"] = namespace
    made["metadata"]["uid"] = f"uid-{namespace}"
    if ours:
        made["metadata"]["labels"] |= OUR_LABELS["labels"]
    container = made["spec"]["template"]["spec"]["containers"][0]
    container["args"] = [*arguments, *container["args"]]
    container["image"] = spec.pop("image", container["image"])
    made["spec"] |= spec
    counts = ("replicas", "updatedReplicas", "availableReplicas", "readyReplicas")
    made["status"] = {
        "observedGeneration": 1,
        **dict.fromkeys(counts, made["spec"]["replicas"]),
        "conditions": [{"type": "Available", "status": "True"}],
    }
    return made


def crd(name: str, *, fields: tuple[str, ...] = FIELDS, **metadata: Any) -> dict[str, Any]:
    plural, _, group = name.partition(".")
    spec: dict[str, Any] = {"properties": {field: {} for field in fields}}
    schema = {"openAPIV3Schema": {"properties": {"spec": spec}}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": name, **metadata},
        "spec": {"group": group, "names": {"plural": plural}, "versions": [{"name": "v1", "schema": schema}]},
        "status": {"conditions": [{"type": "Established", "status": "True"}]},
    }


def make_chart(folder: Path, *, name: str = NAME, version: str = "1.7.0", crds: tuple[str, ...] = CRDS) -> Path:
    """A chart as the real one is laid out, with small CRDs."""
    (folder / "crds").mkdir(parents=True)
    (folder / "Chart.yaml").write_text(f"apiVersion: v2\n\nname: {name}\nversion: {version}\n")
    for each in crds:
        definition = {key: value for key, value in crd(each).items() if key != "status"}
        # The real files begin so, too: the name comes first below metadata.
        content = yaml.safe_dump(definition, sort_keys=False)
        (folder / "crds" / f"ray.io_{each.split('.')[0]}.yaml").write_text(content)
    return folder


class FakeHelm(Tool):
    """Helm for one fake cluster.

    Attributes:
        asked: the arguments of each call, without the flags that name the cluster.
        releases: namespace -> what `helm status` says.
        fails: first argument -> error output, for calls that shall fail.
        install: what an installation does to the cluster.
        pulls: what a download puts into the folder that is named.
    """

    def __init__(self, fake: FakeKubernetes) -> None:
        super().__init__("helm", {})
        self.fake = fake
        self.asked: list[tuple[str, ...]] = []
        self.releases: dict[str, Any] = {}
        self.fails: dict[str, str] = {}
        self.install: Callable[[str], None] = self.install_what_works
        self.pulls: Callable[[Path], None] = lambda folder: None

    def found(self) -> Path | None:
        return Path("/usr/bin/helm")

    def run(self, *arguments: str, timeout: float, stdin: IO[bytes] | None = None, check: bool = True) -> Completed:
        assert timeout > 0
        self.asked.append(arguments)
        verb = arguments[0]
        space = arguments[arguments.index("--namespace") + 1] if "--namespace" in arguments else ""
        if verb in self.fails:
            done = Completed(1, "", self.fails[verb])
        elif verb == "status" and space not in self.releases:
            done = Completed(1, "", "Error: release: not found")
        elif verb == "uninstall":
            del self.releases[space]
            self.fake.remove("Deployment", space, NAME)
            done = Completed(0, f'release "{NAME}" uninstalled', "")
        elif verb == "pull":
            self.pulls(Path(arguments[arguments.index("--untardir") + 1]))
            done = Completed(0, "", "")
        else:
            if verb == "upgrade":
                self.releases[space] = release("deployed")
                values = Path(arguments[arguments.index("--values") + 1])
                self.releases[space]["config"] = yaml.safe_load(values.read_text())
                self.install(space)
            done = Completed(0, json.dumps(self.releases[space]), "")
        if check and done.code:
            raise self.failure(arguments, done)
        return done

    def install_what_works(self, namespace: str) -> None:
        self.fake.put(deployment(namespace, ours=True, arguments=("--watch-namespace", namespace)))

    def verbs(self) -> list[str]:
        """What it was asked to change."""
        return [each[0] for each in self.asked if each[0] != "status"]


def release(state: str, *, ours: bool = True) -> dict[str, Any]:
    """What `helm status` really said of a release, in another state."""
    said: dict[str, Any] = deepcopy(recorded("helm-status-failed"))
    said["info"]["status"] = state
    if ours:
        said["config"] = OUR_LABELS
    return said
