"""The operator's release: what a killed Helm left, what is removed, what its Deployment tells."""

import pytest
import yaml

from fixtures.clusters.kubernetes.access.api import MANAGER
from fixtures.clusters.kubernetes.operator.deployment import PART_OF, current_pods, running, unavailable, watched
from fixtures.clusters.kubernetes.operator.operator import BUSY_SECONDS, VALUES
from fixtures.errors import InfraError
from tests.stand_ins.fake_helm import CRDS, NAME, crd, deployment, release
from tests.stand_ins.kubernetes_store import ignore
from tests.stand_ins.operator_bench import NS, Bench
from tests.unit.recordings import sample


@pytest.mark.parametrize(
    ("states", "verbs"),
    [
        (["failed", "deployed", "superseded"], ["upgrade"]),
        (["pending-install", "pending-upgrade", "pending-rollback", "uninstalling"], ["uninstall", "upgrade"]),
    ],
)
def test_a_release_is_upgraded_and_one_that_a_killed_helm_left_half_done_is_removed_first(
    bench: Bench, states: list[str], verbs: list[str]
) -> None:
    for state in states:
        bench.helm.releases[NS] = release(state)
        bench.helm.asked.clear()

        bench.up()

        assert bench.helm.verbs() == verbs, state


def test_a_helm_that_is_at_work_is_given_time_to_end(bench: Bench) -> None:
    bench.helm.releases[NS] = release("pending-install")
    bench.fake.clock.meanwhile = lambda: bench.helm.releases.update({NS: release("deployed")})

    bench.up()

    assert bench.helm.verbs() == ["upgrade"]
    assert bench.fake.clock.slept[0] < BUSY_SECONDS


def test_somebody_elses_release_of_the_same_name_is_not_replaced(bench: Bench) -> None:
    bench.helm.releases[NS] = release("deployed", ours=False)

    message = "Namespace ray-train-e2e has a Helm release kuberay-operator that this suite did not make"
    with pytest.raises(InfraError, match=message):
        bench.up()

    assert bench.helm.verbs() == []


def test_a_helm_that_cannot_reach_the_cluster_is_not_taken_for_a_release_that_is_not_there(bench: Bench) -> None:
    bench.helm.fails["status"] = "Error: Kubernetes cluster unreachable: connection refused"

    with pytest.raises(InfraError, match="cluster unreachable"):
        bench.up()
    with pytest.raises(InfraError, match="cluster unreachable"):
        bench.operator().down(ignore)


def test_down_removes_release_deployment_and_crds_and_may_be_repeated(bench: Bench) -> None:
    bench.up()

    for _ in range(2):
        assert bench.operator().down(ignore) == ()

    assert bench.helm.verbs() == ["upgrade", "uninstall"]
    assert bench.definitions() == set()
    assert bench.operator().find() == ()


@pytest.mark.parametrize(("ours", "verbs"), [(True, ["uninstall"]), (False, [])])
def test_down_removes_what_our_installation_left_that_failed_and_no_release_of_somebody_else(
    bench: Bench, ours: bool, verbs: list[str]
) -> None:
    bench.helm.releases[NS] = release("failed", ours=ours)

    bench.operator().down(ignore)

    assert bench.helm.verbs() == verbs


def test_what_does_not_go_away_is_an_error_that_names_it(bench: Bench) -> None:
    operator = bench.up()
    stuck = deployment(NS, ours=True)
    stuck["metadata"] |= {"name": "stuck", "finalizers": ["a.b/c"]}
    bench.fake.put(stuck)

    with pytest.raises(InfraError, match=r"still Deployment stuck \(finalizers a.b/c"):
        operator.down(ignore)


def test_a_chart_that_cannot_be_had_is_an_error_unless_an_operator_runs_already(bench: Bench) -> None:
    bench.helm.fails["pull"] = "Error: lookup ray-project.github.io: no such host"

    with pytest.raises(InfraError, match=r"kuberay-operator 1.7.0 cannot be downloaded: .* no such host") as caught:
        bench.make(bench.operator(given=None))
    bench.fake.put(deployment("kuberay-system"), *map(crd, CRDS))

    assert "--kuberay-chart" in caught.value.remedy
    assert not bench.make(bench.operator(given=None)).owned


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


@pytest.mark.parametrize("configuration", ["a: [", "[]", "[" * 5000], ids=["no YAML", "a list", "nested too deeply"])
def test_an_operator_whose_configuration_cannot_be_read_may_look_after_all_namespaces(configuration: str) -> None:
    assert watched(["--watch-namespace=a"], configuration) is None


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
