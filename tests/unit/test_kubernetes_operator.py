"""The operator: what fits is used, what is missing is installed, what is not ours is left alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from fixtures.errors import Infra
from fixtures.kubernetes import operator as operator_module
from fixtures.kubernetes.api import MANAGER, Api
from fixtures.kubernetes.deployment import PART_OF, current_pods, running, unavailable, watched
from fixtures.kubernetes.operator import BUSY_SECONDS, READY_SECONDS, VALUES, Operator
from tests.unit.fake_helm import NAME, FakeHelm, deployment, recorded, release
from tests.unit.fake_kubernetes import FakeKubernetes
from tests.unit.kubernetes_store import FakeClock, forbidden
from tests.unit.recordings import sample

NS = "ray-train-e2e"
CRDS = ("rayclusters.ray.io", "rayjobs.ray.io")
LABEL = "app.kubernetes.io/managed-by"
FIELDS = ("authOptions", "headGroupSpec", "rayVersion", "workerGroupSpecs", "tlsOptions")


class Server(FakeKubernetes):
    """Establishes CRDs as a real API server does, after some seconds."""

    narrow = False
    """Whether Deployments may be seen in one namespace only."""

    conditions: tuple[Mapping[str, str], ...] | None = ({"type": "Established", "status": "True"},)

    def apply(self, at: Any, query: Any, content: str, manifest: Any) -> Any:
        stored = super().apply(at, query, content, manifest)
        if manifest["kind"] == "CustomResourceDefinition":
            stored["status"] = {"conditions": self.conditions}
        return stored

    def list(self, at: Any, query: Any) -> Any:
        if self.narrow and at["plural"] == "deployments" and at["namespace"] is None:
            raise forbidden("list", at)
        return super().list(at, query)


def crd(name: str, *, fields: tuple[str, ...] = FIELDS, **metadata: Any) -> dict[str, Any]:
    plural, _, group = name.partition(".")
    schema: dict[str, Any] = {
        "openAPIV3Schema": {"properties": {"spec": {"properties": {each: {} for each in fields}}}}
    }
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
        given = {"given": self.folder / "chart", **options}
        return Operator(
            self.api,
            self.helm,
            namespace=NS,
            kubeconfig=Path("/c"),
            context="ours",
            cache=self.folder / "cache",
            **given,
        )

    def up(self) -> Operator:
        operator = self.operator()
        operator.up(self.lines.append)
        return operator

    def changed(self) -> list[str]:
        """What was written to the cluster, without Helm's share."""
        return [f"{each.method} {each.path.rsplit('/', 1)[1]}" for each in self.fake.requests if each.method != "GET"]

    def definitions(self) -> set[str]:
        return {each["metadata"]["name"] for each in self.api.list("CustomResourceDefinition")}


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    fake = Server(FakeClock())
    with fake:
        fake.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NS}})
        make_chart(tmp_path / "chart")
        api = Api(fake.kubeconfig(tmp_path), None, clock=fake.clock)
        yield Bench(fake, FakeHelm(fake), api, tmp_path)


def ignore(_: str) -> None:
    """Hear a line and forget it."""


def test_where_there_is_no_operator_ours_is_installed_with_our_values_and_without_helms_crds(bench: Bench) -> None:
    operator = bench.up()

    assert operator.owned
    assert operator.running is not None
    assert operator.running.version == "1.7.0"
    assert bench.helm.asked[-1] == (
        "upgrade", "--install", NAME, str(bench.folder / "chart"), "--kubeconfig", "/c", "--kube-context", "ours",
        "--namespace", NS, "--skip-crds", "--values", str(VALUES), "--timeout", "120s", "--output", "json",
    )  # fmt: skip


def test_the_crds_are_applied_before_by_us_and_say_whose_they_are(bench: Bench) -> None:
    bench.up()

    assert bench.changed() == [f"PATCH {each}" for each in CRDS]
    for each in CRDS:
        found = bench.api.get("CustomResourceDefinition", each)
        assert found is not None
        assert found["metadata"]["labels"][LABEL] == MANAGER
    assert bench.lines == [
        "applying rayclusters.ray.io",
        "applying rayjobs.ray.io",
        "installing KubeRay 1.7.0 in ray-train-e2e",
        "KubeRay operator ray-train-e2e/kuberay-operator (KubeRay 1.7.0) is available",
    ]


def test_crds_of_ours_that_are_the_same_are_not_applied_again(bench: Bench) -> None:
    bench.up()
    written = len(bench.changed())

    bench.up()

    assert len(bench.changed()) == written


def test_an_operator_that_an_earlier_run_installed_just_so_is_not_installed_again(bench: Bench) -> None:
    bench.up()

    operator = bench.up()

    assert operator.owned
    assert bench.helm.verbs() == ["upgrade"]


def test_an_operator_of_ours_with_other_values_or_of_another_chart_is_upgraded(bench: Bench, tmp_path: Path) -> None:
    bench.up()
    other = tmp_path / "values.yaml"
    other.write_text(VALUES.read_text().replace("periodSeconds: 3", "periodSeconds: 4"))

    bench.operator(values=other).up(ignore)
    assert bench.helm.verbs() == ["upgrade", "upgrade"]

    make_chart(tmp_path / "newer", version="1.7.1")
    bench.operator(values=other, given=tmp_path / "newer").up(ignore)
    assert bench.helm.verbs() == ["upgrade", "upgrade", "upgrade"]


def test_crds_of_ours_that_are_older_are_upgraded(bench: Bench) -> None:
    bench.up()
    file = bench.folder / "chart" / "crds" / "ray.io_rayjobs.yaml"
    file.write_text(file.read_text().replace("tlsOptions", "newOptions"))

    bench.up()

    assert bench.changed()[-1] == "PATCH rayjobs.ray.io"
    assert "newOptions" in str(bench.api.get("CustomResourceDefinition", "rayjobs.ray.io"))


def test_somebody_elses_crds_that_know_what_is_needed_are_used_as_they_are(bench: Bench) -> None:
    bench.fake.put(*map(crd, CRDS))

    bench.up()

    assert bench.changed() == []


def test_somebody_elses_crds_that_are_too_old_are_an_error_and_stay_as_they_are(bench: Bench) -> None:
    bench.fake.put(crd(CRDS[0], fields=("headGroupSpec", "rayVersion", "workerGroupSpecs")))

    with pytest.raises(
        Infra, match=r"rayclusters.ray.io was not installed by ray-train-e2e and lacks authOptions, tls"
    ):
        bench.up()

    assert bench.changed() == []
    assert bench.helm.verbs() == []


def test_a_crd_that_is_just_being_deleted_is_waited_for_and_applied_anew(bench: Bench) -> None:
    bench.up()
    bench.fake.put(crd(CRDS[0], deletionTimestamp="2026-11-23T09:00:00Z"))
    sleep = bench.fake.clock.sleep

    def gone(seconds: float) -> None:
        sleep(seconds)
        bench.fake.remove("CustomResourceDefinition", "", CRDS[0])
        bench.fake.clock.sleep = sleep  # type: ignore[method-assign]

    bench.fake.clock.sleep = gone  # type: ignore[method-assign]

    bench.up()

    assert "waiting until customresourcedefinitions are gone: rayclusters.ray.io" in bench.lines
    assert CRDS[0] in bench.definitions()


def test_a_crd_whose_name_is_taken_is_said_at_once_with_the_clusters_words(bench: Bench) -> None:
    bench.fake.conditions = (
        {"type": "NamesAccepted", "status": "False", "message": '"rayclusters" is already in use'},
    )
    began = bench.fake.clock.now()

    with pytest.raises(Infra, match='"rayclusters" is already in use'):
        bench.up()

    assert bench.fake.clock.now() == began


@pytest.mark.parametrize("conditions", [(), None])  # a real server's first answer has null
def test_a_crd_that_is_never_established_ends_the_wait(
    bench: Bench, conditions: tuple[Mapping[str, str], ...] | None
) -> None:
    bench.fake.conditions = conditions

    with pytest.raises(Infra, match=r"rayclusters.ray.io is not established after 60 s"):
        bench.up()


@pytest.mark.parametrize("arguments", [(), ("--watch-namespace", f"default,{NS}")])
def test_an_operator_that_fits_and_looks_after_our_namespace_is_used_as_it_is(
    bench: Bench, arguments: tuple[str, ...]
) -> None:
    bench.fake.put(deployment("kuberay-system", arguments=arguments), *map(crd, CRDS))

    operator = bench.up()

    assert not operator.owned
    assert bench.helm.asked == []
    assert bench.changed() == []
    assert bench.lines[0] == "using the KubeRay operator kuberay-system/kuberay-operator (KubeRay 1.7.0)"


def test_an_operator_that_is_used_as_it_is_survives_us_with_its_crds(bench: Bench) -> None:
    bench.fake.put(deployment("kuberay-system"), *map(crd, CRDS))
    operator = bench.up()

    said = operator.down(ignore)

    assert bench.helm.verbs() == []
    assert bench.changed() == []
    assert said == ("KubeRay's CRDs stay: kuberay-system/kuberay-operator (KubeRay 1.7.0) needs them",)


def test_an_operator_of_another_version_is_an_error_with_both_versions(bench: Bench) -> None:
    bench.fake.put(deployment("kuberay-system", image="quay.io/kuberay/operator:v1.4.2"))

    with pytest.raises(Infra, match=r"kuberay-system/kuberay-operator is of version 1.4.2; 1.7.0 is needed"):
        bench.up()

    assert bench.helm.verbs() == []


def test_an_operator_whose_version_nobody_knows_is_not_taken_for_one_that_fits(bench: Bench) -> None:
    unknown = deployment("kuberay-system", image="registry.corp/op@sha256:4f1c")
    del unknown["metadata"]["labels"]["helm.sh/chart"]
    bench.fake.put(unknown)

    with pytest.raises(Infra, match=r"version unknown \(image registry.corp/op@sha256:4f1c\)"):
        bench.up()


def test_an_operator_that_looks_after_other_namespaces_is_left_alone_and_ours_is_installed_beside_it(
    bench: Bench,
) -> None:
    bench.fake.put(deployment("team-a", arguments=("--watch-namespace", "team-a"), image="x/operator:v1.3.0"))

    assert bench.up().owned
    assert bench.api.get("Deployment", NAME, "team-a") is not None


def test_an_operator_that_is_scaled_to_zero_does_not_count(bench: Bench) -> None:
    bench.fake.put(deployment("kuberay-system", replicas=0))

    assert bench.up().owned


def test_two_operators_for_one_namespace_are_an_error_that_names_both(bench: Bench) -> None:
    bench.up()
    bench.fake.put(deployment("kuberay-system"))

    with pytest.raises(Infra, match="2 KubeRay operators look after namespace ray-train-e2e") as caught:
        bench.up()

    assert "kuberay-system/kuberay-operator" in caught.value.cause
    assert "ray-train-e2e/kuberay-operator" in caught.value.cause


def test_an_operator_without_its_crds_is_not_used(bench: Bench) -> None:
    bench.fake.put(deployment("kuberay-system"))

    with pytest.raises(Infra, match=r"runs without its CRD rayclusters.ray.io"):
        bench.up()


def test_who_may_not_look_into_other_namespaces_gets_along_with_our_own(bench: Bench) -> None:
    bench.fake.narrow = True

    assert bench.up().owned


def broken(bench: Bench, *, revision: str = "1", owner: str = "5f6bdc8757") -> None:
    """Make installations end as the recorded one did: the image is missing."""
    bad = deepcopy(recorded("deploy-operator-image-missing")["items"][0])
    bad["metadata"]["namespace"] = NS
    bad["metadata"]["labels"][PART_OF] = MANAGER
    bad["metadata"]["annotations"]["deployment.kubernetes.io/revision"] = revision
    pods, events = sample("pods-operator-image-missing.json"), sample("events-operator-image-missing.json")
    for each in (*pods["items"], *events["items"]):
        each["metadata"]["namespace"] = NS
    label = {"app.kubernetes.io/name": NAME, "pod-template-hash": owner}
    owner_of_pods = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": f"{NAME}-{owner}",
            "namespace": NS,
            "labels": label,
            "annotations": {"deployment.kubernetes.io/revision": "1"},
        },
    }
    bench.helm.install = lambda _: bench.fake.put(bad, owner_of_pods, pods, events)
    bench.fake.clock.at = 1_795_425_000.0


def test_an_image_that_is_missing_is_the_error_long_before_the_deadline(bench: Bench) -> None:
    broken(bench)
    began = bench.fake.clock.now()

    with pytest.raises(Infra) as caught:
        bench.up()

    assert "operator ray-train-e2e/kuberay-operator (KubeRay 1.7.0) does not start" in caught.value.cause
    assert "Image quay.io/kuberay/operator:v1.7.0 is not on node rig" in caught.value.cause
    assert "no such host" in caught.value.cause
    assert bench.fake.clock.now() - began < READY_SECONDS


def test_a_pod_of_an_earlier_attempt_is_not_blamed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operator_module, "READY_SECONDS", 5.0)
    broken(bench, revision="2")

    with pytest.raises(Infra, match="not available after 5 s: 0 of 1 pods are available"):
        bench.up()


def test_a_pod_that_a_quota_refuses_is_the_error_at_once(bench: Bench) -> None:
    refused = deployment(NS, ours=True)
    said = 'pods "kuberay-operator-1" is forbidden: exceeded quota'
    refused["status"] = {
        "observedGeneration": 1,
        "conditions": [{"type": "ReplicaFailure", "status": "True", "message": said}],
    }
    bench.helm.install = lambda _: bench.fake.put(refused)

    with pytest.raises(Infra, match=r"its pod cannot be created: pods .* exceeded quota"):
        bench.up()


def test_progress_is_told_once_for_each_step_and_not_each_second(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operator_module, "READY_SECONDS", 5.0)
    slow = deployment(NS, ours=True)
    slow["status"] = {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1}
    bench.helm.install = lambda _: bench.fake.put(slow)

    with pytest.raises(Infra):
        bench.up()

    assert bench.lines.count("KubeRay operator: 0 of 1 pods are available") == 1


@pytest.mark.parametrize("state", ["failed", "deployed", "superseded"])
def test_a_release_that_helm_can_build_on_is_upgraded(bench: Bench, state: str) -> None:
    bench.helm.releases[NS] = release(state)

    bench.up()

    assert bench.helm.verbs() == ["upgrade"]


@pytest.mark.parametrize("state", ["pending-install", "pending-upgrade", "pending-rollback", "uninstalling"])
def test_a_release_that_a_killed_helm_left_half_done_is_removed_first(bench: Bench, state: str) -> None:
    bench.helm.releases[NS] = release(state)

    bench.up()

    assert bench.helm.verbs() == ["uninstall", "upgrade"]


def test_a_helm_that_is_at_work_is_given_time_to_end(bench: Bench) -> None:
    bench.helm.releases[NS] = release("pending-install")
    sleep = bench.fake.clock.sleep

    def done(seconds: float) -> None:
        sleep(seconds)
        bench.helm.releases[NS] = release("deployed")

    bench.fake.clock.sleep = done  # type: ignore[method-assign]

    bench.up()

    assert bench.helm.verbs() == ["upgrade"]
    assert bench.fake.clock.slept[0] < BUSY_SECONDS


def test_somebody_elses_release_of_the_same_name_is_not_replaced(bench: Bench) -> None:
    bench.helm.releases[NS] = release("deployed", ours=False)

    with pytest.raises(Infra, match="Namespace ray-train-e2e has a Helm release kuberay-operator that is not ours"):
        bench.up()

    assert bench.helm.verbs() == []


def test_a_helm_that_cannot_reach_the_cluster_is_not_taken_for_a_release_that_is_not_there(bench: Bench) -> None:
    bench.helm.fails["status"] = "Error: Kubernetes cluster unreachable: connection refused"

    with pytest.raises(Infra, match="cluster unreachable"):
        bench.up()
    with pytest.raises(Infra, match="cluster unreachable"):
        bench.operator().down(ignore)


def test_down_removes_release_deployment_and_crds_and_may_be_repeated(bench: Bench) -> None:
    bench.up()

    for _ in range(2):
        assert bench.operator().down(ignore) == ()

    assert bench.helm.verbs() == ["upgrade", "uninstall"]
    assert bench.definitions() == set()
    assert bench.operator().find() == ()


def test_down_also_removes_what_an_installation_left_that_failed_before_its_deployment(bench: Bench) -> None:
    bench.helm.releases[NS] = release("failed")

    bench.operator().down(ignore)

    assert bench.helm.verbs() == ["uninstall"]


def test_down_leaves_somebody_elses_release_alone(bench: Bench) -> None:
    bench.helm.releases[NS] = release("deployed", ours=False)

    bench.operator().down(ignore)

    assert bench.helm.verbs() == []


def test_a_crd_stays_while_anybody_has_an_object_of_it_and_the_others_go(bench: Bench) -> None:
    operator = bench.up()
    bench.fake.put(raycluster("team-a", "prod"))

    said = operator.down(ignore)

    assert said == ("rayclusters.ray.io stays: team-a/prod uses it",)
    assert bench.definitions() == {"rayclusters.ray.io"}
    assert bench.fake.find("RayCluster", "prod") is not None


def test_crds_of_somebody_else_stay(bench: Bench) -> None:
    bench.fake.put(crd(CRDS[0]))
    operator = bench.up()

    operator.down(ignore)

    assert bench.definitions() == {CRDS[0]}


def test_what_does_not_go_away_is_an_error_that_names_it(bench: Bench) -> None:
    operator = bench.up()
    stuck = deployment(NS, ours=True)
    stuck["metadata"] |= {"name": "stuck", "finalizers": ["a.b/c"]}
    bench.fake.put(stuck)

    with pytest.raises(Infra, match=r"still Deployment stuck \(finalizers a.b/c"):
        operator.down(ignore)


def test_a_chart_that_cannot_be_had_does_not_matter_where_an_operator_runs_already(bench: Bench) -> None:
    bench.fake.put(deployment("kuberay-system"), *map(crd, CRDS))
    operator = bench.operator(given=None)
    bench.helm.fails["pull"] = "Error: no such host"

    operator.fetch()
    operator.up(ignore)

    assert not operator.owned


def test_a_chart_that_cannot_be_had_is_the_error_where_ours_is_to_be_installed(bench: Bench) -> None:
    bench.helm.fails["pull"] = "Error: lookup ray-project.github.io: no such host"
    operator = bench.operator(given=None)

    with pytest.raises(Infra, match=r"kuberay-operator 1.7.0 cannot be downloaded: .* no such host") as caught:
        operator.up(ignore)

    assert "--kuberay-chart" in caught.value.remedy


def test_preflight_names_a_missing_helm_and_a_chart_that_is_none_at_once(bench: Bench, tmp_path: Path) -> None:
    bench.helm.found = lambda: None  # type: ignore[method-assign]

    problems = bench.operator(given=tmp_path / "absent").preflight()

    assert [each.what.split(":")[0] for each in problems] == [
        "helm is not on PATH.",
        f"{tmp_path}/absent is no packed Helm chart",
    ]
    assert bench.operator().preflight() != ()


def test_nothing_is_missing_where_helm_and_the_chart_are_there(bench: Bench) -> None:
    assert bench.operator().preflight() == ()


@pytest.mark.parametrize(
    ("arguments", "watches"),
    [
        ([], None),
        (["--watch-namespace", "a"], frozenset({"a"})),
        (["--watch-namespace=a,b"], frozenset({"a", "b"})),
        (["-watch-namespace", "a, b", "--qps=100"], frozenset({"a", "b"})),
        (["--watch-namespace", ""], None),
    ],
)
def test_the_namespaces_that_an_operator_looks_after_are_read_from_its_arguments(
    arguments: list[str], watches: frozenset[str] | None
) -> None:
    assert watched(arguments) == watches


def test_a_configuration_file_takes_the_place_of_the_arguments(bench: Bench) -> None:
    config = 'apiVersion: config.ray.io/v1alpha1\nkind: Configuration\nwatchNamespace: "team-a"\n'
    bench.fake.put(
        deployment("team-a", arguments=("--config", "/etc/kuberay/config.yaml")),
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": f"{NAME}-config", "namespace": "team-a"},
            "data": {"config.yaml": config},
        },
    )

    (found,) = bench.operator().find()

    assert found.watches == frozenset({"team-a"})


def test_the_version_is_the_images_and_else_the_charts() -> None:
    assert running(deployment("a", image="corp:5000/kuberay/operator:v1.6.0@sha256:12")).version == "1.6.0"
    assert running(deployment("a", image="corp:5000/operator:nightly")).version == "1.7.0"  # its chart's label


def test_a_deployment_is_available_only_when_all_its_pods_are_of_its_newest_kind() -> None:
    there = deployment("a")
    assert unavailable(there) == ""

    assert unavailable({**there, "metadata": {**there["metadata"], "generation": 2}}) == "its change is not seen yet"
    old = {**there["status"], "updatedReplicas": 0}
    assert unavailable({**there, "status": old}) == "0 of 1 pods are of the new kind"
    assert unavailable({**there, "status": {"observedGeneration": 1}}) == "0 of 1 pods are of the new kind"


def test_without_a_revision_no_pod_is_taken_for_a_current_one() -> None:
    bare = deployment("a")
    bare["metadata"]["annotations"] = {}
    assert current_pods(bare, [{"metadata": {"name": "rs"}}], sample("pods-operator-image-missing.json")["items"]) == ()


def test_our_values_mark_what_is_ours_and_keep_the_operator_to_its_namespace() -> None:
    values = yaml.safe_load(VALUES.read_text())

    assert values["labels"] == {PART_OF: MANAGER}
    assert values["singleNamespaceInstall"] is True
    assert "featureGates" not in values, "the chart's list would be replaced as a whole"
