"""KubeRay's CRDs: ours are upgraded and removed, somebody else's are neither."""

from collections.abc import Mapping

import pytest

from fixtures.clusters.kubernetes.access.api import MANAGER
from fixtures.errors import InfraError
from tests.stand_ins.fake_helm import CRDS, crd
from tests.stand_ins.kubernetes_store import ignore
from tests.stand_ins.operator_bench import LABEL, Bench, raycluster


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


def test_crds_of_ours_that_are_older_are_upgraded_and_the_same_are_not_applied_again(bench: Bench) -> None:
    bench.up()
    written = len(bench.changed())
    bench.up()
    assert len(bench.changed()) == written
    file = bench.folder / "chart" / "crds" / "ray.io_rayjobs.yaml"
    file.write_text(file.read_text().replace("tlsOptions", "newOptions"))

    bench.up()

    assert bench.changed()[-1] == "PATCH rayjobs.ray.io"
    assert "newOptions" in str(bench.api.get("CustomResourceDefinition", "rayjobs.ray.io"))


def test_somebody_elses_crds_that_are_too_old_are_an_error_and_stay_as_they_are(bench: Bench) -> None:
    bench.fake.put(crd(CRDS[0], fields=("headGroupSpec", "rayVersion", "workerGroupSpecs")))

    message = r"rayclusters.ray.io was not installed by ray-train-e2e and lacks authOptions, tls"
    with pytest.raises(InfraError, match=message):
        bench.up()

    assert bench.changed() == []
    assert bench.helm.verbs() == []


def test_a_crd_that_is_just_being_deleted_is_waited_for_and_applied_anew(bench: Bench) -> None:
    bench.up()
    bench.fake.put(crd(CRDS[0], deletionTimestamp="2026-11-23T09:00:00Z"))

    def remove_once() -> None:
        bench.fake.remove("CustomResourceDefinition", "", CRDS[0])
        bench.fake.clock.meanwhile = lambda: None

    bench.fake.clock.meanwhile = remove_once

    bench.up()

    assert "waiting until customresourcedefinitions are gone: rayclusters.ray.io" in bench.lines
    assert CRDS[0] in bench.definitions()


def test_a_crd_whose_name_is_taken_is_said_at_once_with_the_clusters_words(bench: Bench) -> None:
    bench.fake.conditions = (
        {"type": "NamesAccepted", "status": "False", "message": '"rayclusters" is already in use'},
    )
    began = bench.fake.clock.now()

    with pytest.raises(InfraError, match='"rayclusters" is already in use'):
        bench.up()

    assert bench.fake.clock.now() == began


@pytest.mark.parametrize("conditions", [(), None])  # a real server's first answer has null
def test_a_crd_that_is_never_established_ends_the_wait(
    bench: Bench, conditions: tuple[Mapping[str, str], ...] | None
) -> None:
    bench.fake.conditions = conditions

    with pytest.raises(InfraError, match=r"rayclusters.ray.io is not established after 60 s"):
        bench.up()


def test_a_crd_stays_while_anybody_has_an_object_of_it_and_the_others_go(bench: Bench) -> None:
    operator = bench.up()
    bench.fake.put(raycluster("team-a", "prod"))

    said = operator.down(ignore)

    assert said == ("rayclusters.ray.io stays: team-a/prod uses it",)
    assert bench.definitions() == {"rayclusters.ray.io"}
    assert bench.fake.find("RayCluster", "prod") is not None


def test_crds_of_somebody_else_that_know_what_is_needed_are_used_as_they_are_and_stay(bench: Bench) -> None:
    bench.fake.put(*map(crd, CRDS))

    bench.up().down(ignore)

    assert bench.changed() == []
    assert bench.definitions() == set(CRDS)
