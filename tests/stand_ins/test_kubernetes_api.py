"""The client of the Kubernetes API against a server that answers, fails and refuses as real ones do."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fixtures.clusters.kubernetes.access import connection
from fixtures.clusters.kubernetes.access.api import KINDS, Api, DeniedError
from fixtures.clusters.kubernetes.access.objects import in_order
from fixtures.errors import InfraError
from tests.stand_ins.fake_kubernetes import (
    BUSY,
    DROPPED,
    EXPIRED,
    TOKEN,
    UNAUTHORIZED,
    UNAVAILABLE,
    Answer,
    FakeKubernetes,
)
from tests.stand_ins.kubernetes_store import FakeClock, ignore

SOME_LEFT = "Some content in the namespace has finalizers remaining: ray.io/redis-cleanup in 1 resource instances"
Connect = Callable[..., Api]


@pytest.fixture
def fake() -> Iterator[FakeKubernetes]:
    with FakeKubernetes() as fake:
        fake.put(manifest("Namespace", "bench"))
        yield fake


@pytest.fixture
def connect(fake: FakeKubernetes, tmp_path: Path) -> Connect:
    return lambda **options: Api(fake.kubeconfig(tmp_path), None, **{"clock": fake.clock, **options})


@pytest.fixture
def api(connect: Connect) -> Api:
    return connect()


def manifest(kind: str, name: str, namespace: str | None = None, **more: Any) -> dict[str, Any]:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {}), **more.pop("metadata", {})}
    return {"apiVersion": KINDS[kind], "kind": kind, "metadata": metadata, **more}


def pods(count: int) -> list[dict[str, Any]]:
    return [manifest("Pod", f"pod-{index}", "bench", metadata={"labels": {"app": "a"}}) for index in range(count)]


def names(objects: Any) -> list[str]:
    return [each["metadata"]["name"] for each in objects]


def refused(message: str, kind: type[InfraError] = InfraError) -> Any:
    return pytest.raises(kind, match=message)


def test_an_object_is_found_by_kind_name_and_namespace_and_the_token_is_sent(fake: FakeKubernetes, api: Api) -> None:
    fake.put(manifest("Pod", "head", "bench", spec={"nodeName": "n1"}))

    assert api.get("Pod", "nobody", "bench") is None, "what does not exist is no error"
    found = api.get("Pod", "head", "bench")

    assert found is not None
    assert found["spec"] == {"nodeName": "n1"}
    assert fake.requests[-1].path == "/api/v1/namespaces/bench/pods/head"
    assert fake.requests[-1].headers["Authorization"] == f"Bearer {TOKEN}"


def test_what_no_server_accepts_is_refused_before_anything_is_sent(fake: FakeKubernetes, api: Api) -> None:
    with pytest.raises(ValueError, match="Pod head needs a namespace"):
        api.get("Pod", "head")
    with pytest.raises(ValueError, match=r"RayCluster is known as ray.io/v1, not as ray.io/v1alpha1"):
        api.apply({**manifest("RayCluster", "e2e", "bench"), "apiVersion": "ray.io/v1alpha1"})
    assert fake.requests == []


def test_a_list_follows_its_pages_to_the_end_and_each_item_says_what_it_is(fake: FakeKubernetes, api: Api) -> None:
    fake.put(*pods(5))
    fake.page = 2

    found = api.list("Pod", "bench")

    assert names(found) == [f"pod-{index}" for index in range(5)]
    assert {(each["apiVersion"], each["kind"]) for each in found} == {("v1", "Pod")}
    assert len(fake.asked("GET")) == 3


def test_a_list_whose_version_is_forgotten_between_two_pages_begins_anew_for_a_while(
    fake: FakeKubernetes, api: Api
) -> None:
    fake.put(*pods(4))
    fake.page = 2
    fake.fail("GET", "/pods", Answer(), EXPIRED)

    assert names(api.list("Pod", "bench")) == [f"pod-{index}" for index in range(4)]
    fake.fail("GET", "/pods", *[EXPIRED] * 9)
    with refused(r"list pods in namespace bench \(410\): The provided continue parameter is too old"):
        api.list("Pod", "bench")


def test_a_list_takes_labels_and_fields_and_all_namespaces(fake: FakeKubernetes, api: Api) -> None:
    fake.put(*pods(2), manifest("Pod", "other", "elsewhere", metadata={"labels": {"app": "b"}}))

    assert names(api.list("Pod", labels="app=b")) == ["other"]
    assert names(api.list("Pod", fields="metadata.name=pod-1")) == ["pod-1"]
    assert names(api.list("Pod")) == ["pod-0", "pod-1", "other"]


def test_apply_creates_changes_and_takes_fields_over(fake: FakeKubernetes, api: Api) -> None:
    first = api.apply(manifest("RayCluster", "e2e", "bench", spec={"replicas": 2, "image": "a"}))
    same = api.apply(manifest("RayCluster", "e2e", "bench", spec={"replicas": 2, "image": "a"}))
    other = api.apply(manifest("RayCluster", "e2e", "bench", spec={"replicas": 3}))

    assert [each["metadata"]["generation"] for each in (first, same, other)] == [1, 1, 2]
    assert other["spec"] == {"replicas": 3}, "what we no longer apply goes"
    sent = fake.requests[-1]
    assert sent.headers["Content-Type"] == "application/apply-patch+yaml"
    assert sent.query == {"fieldManager": "ray-train-e2e", "force": "true", "fieldValidation": "Strict"}


def test_an_apply_that_meets_another_write_is_sent_again(fake: FakeKubernetes, api: Api) -> None:
    fake.fail("PATCH", "/rayclusters", Answer(409, "Conflict", "the object has been modified"))

    assert api.apply(manifest("RayCluster", "e2e", "bench"))["metadata"]["generation"] == 1
    assert len(fake.asked("PATCH")) == 2


def test_an_apply_without_its_namespace_or_without_its_definition_says_which_is_missing(
    fake: FakeKubernetes, api: Api
) -> None:
    with refused(r'apply RayCluster e2e in namespace absent \(404\): namespaces "absent" not found'):
        api.apply(manifest("RayCluster", "e2e", "absent"))
    fake.unknown.add("rayclusters")
    with refused(r"404 page not found.*CustomResourceDefinition is not installed"):
        api.apply(manifest("RayCluster", "e2e", "bench"))


def test_a_manifest_that_does_not_fit_its_definition_is_an_error_at_once(fake: FakeKubernetes, api: Api) -> None:
    said = "failed to create typed patch object (bench/e2e; ray.io/v1, Kind=RayCluster): .spec"
    fake.fail(
        "PATCH",
        "/rayclusters",
        Answer(500, "", f"{said}.authOptions: field not declared in schema"),
        Answer(500, "", f"{said}.replicas: expected numeric (int or float), got string"),
    )

    with refused(r"spec.authOptions: field not declared in schema\. .* older than the manifest"):
        api.apply(manifest("RayCluster", "e2e", "bench"))
    with refused(r"spec.replicas: expected numeric .* Correct what the message names"):
        api.apply(manifest("RayCluster", "e2e", "bench"))
    assert fake.clock.slept == []


def test_a_namespace_that_is_being_deleted_is_not_called_a_missing_right(fake: FakeKubernetes, api: Api) -> None:
    fake.put(manifest("Namespace", "going", metadata={"deletionTimestamp": "2026-11-23T09:00:00Z"}))

    with refused(r"because it is being terminated. Wait until the namespace is gone") as caught:
        api.apply(manifest("RayCluster", "e2e", "going"))
    assert not isinstance(caught.value, DeniedError)


@pytest.mark.parametrize("failure", [DROPPED, UNAVAILABLE, BUSY, Answer(500), Answer(502), Answer(504)])
def test_a_call_that_fails_for_a_moment_is_sent_again(fake: FakeKubernetes, api: Api, failure: Answer) -> None:
    fake.put(*pods(1))
    fake.fail("GET", "/pods", failure, failure)

    assert names(api.list("Pod", "bench")) == ["pod-0"]
    assert len(fake.asked("GET")) == 3


def test_the_pauses_grow_and_are_never_shorter_than_the_server_asks(fake: FakeKubernetes, api: Api) -> None:
    fake.fail("GET", "/pods", DROPPED, DROPPED, BUSY, DROPPED)

    api.list("Pod", "bench")

    assert fake.clock.slept == [0.5, 1.0, 2.0, 4.0]
    fake.fail("GET", "/pods", Answer(429, headers={"Retry-After": "7"}))
    api.list("Pod", "bench")
    assert fake.clock.slept[-1] == 7.0


def test_patience_ends_with_the_servers_own_words(fake: FakeKubernetes, api: Api) -> None:
    fake.fail("GET", "/pods", *[UNAVAILABLE] * 99)

    with refused(r"list pods in namespace bench \(503\): the server is currently unable to handle"):
        api.list("Pod", "bench")
    assert sum(fake.clock.slept) <= 30.0
    assert len(fake.asked("GET")) == 7


def test_a_server_that_is_gone_is_named_with_what_was_tried(fake: FakeKubernetes, api: Api) -> None:
    fake.down = True

    with refused(rf"{fake.address} did not answer GET /version 5 times: .*Remote end closed"):
        api.version()


def test_a_server_that_was_given_up_is_asked_once_more_now_and_then_until_it_answers(
    fake: FakeKubernetes, api: Api
) -> None:
    api.version()
    fake.down = True
    with refused("did not answer GET /version 7 times"):
        api.version()
    asked = len(fake.requests)

    with refused("did not answer GET /version 7 times"):
        api.list("Pod", "bench")
    assert len(fake.requests) == asked
    fake.clock.sleep(connection.AGAIN_SECONDS)
    with refused("did not answer GET /version 7 times"):
        api.list("Pod", "bench")
    assert len(fake.requests) == asked + 1
    fake.down = False
    fake.clock.sleep(connection.AGAIN_SECONDS)
    assert api.version() == "v1.34.4"


def test_an_answer_that_comes_too_late_is_asked_for_again(
    fake: FakeKubernetes, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.fail("GET", "/version", Answer(wait=0.3))

    monkeypatch.setattr(connection, "TIMEOUT_SECONDS", 0.05)

    assert connect().version() == "v1.34.4"
    assert len(fake.asked("GET")) > 1


def test_a_missing_right_names_the_verb_the_kind_and_the_namespace(fake: FakeKubernetes, api: Api) -> None:
    for verb, plural in (("list", "pods"), ("patch", "rayclusters"), ("list", "nodes")):
        fake.deny(verb, plural)

    with refused(r'may not list pods in namespace bench: pods is .*: User "dev" cannot list', DeniedError):
        api.list("Pod", "bench")
    with refused(r"may not apply RayCluster e2e in namespace bench.*kubectl auth can-i", DeniedError):
        api.apply(manifest("RayCluster", "e2e", "bench"))
    with refused(r"may not list nodes: .* at the cluster scope", DeniedError):
        api.list("Node")
    assert fake.clock.slept == [], "a right does not appear by waiting"


def test_delete_is_in_the_foreground_and_what_is_absent_is_fine(fake: FakeKubernetes, api: Api) -> None:
    fake.put(*pods(1))

    api.delete("Pod", "pod-0", "bench")
    api.delete("Pod", "pod-0", "bench")

    assert fake.find("Pod", "pod-0") is None
    assert fake.asked("DELETE")[0].query == {"propagationPolicy": "Foreground"}


def test_a_wait_for_the_end_says_what_is_left_until_it_is_gone(fake: FakeKubernetes, api: Api) -> None:
    owner = manifest("RayCluster", "e2e", "bench", metadata={"uid": "u"})
    fake.put(owner, *(manifest("Pod", f"p{n}", "bench", metadata={"ownerReferences": [{"uid": "u"}]}) for n in "ab"))
    fake.grace = 3.0
    said: list[str] = []

    api.delete("RayCluster", "e2e", "bench")
    api.wait_gone("Pod", "bench", deadline=10, report=said.append)

    assert said == ["waiting until pods are gone: pa, pb"]
    assert fake.clock.slept == [1.0, 1.0, 1.0]


def test_a_wait_for_the_end_names_what_holds_an_object_back(fake: FakeKubernetes, api: Api) -> None:
    left = {"type": "NamespaceFinalizersRemaining", "status": "True", "message": SOME_LEFT}
    fake.put(
        manifest("RayCluster", "e2e", "bench", metadata={"finalizers": ["ray.io/redis-cleanup"]}),
        manifest("Namespace", "old", metadata={"deletionTimestamp": "x"}, status={"conditions": [left]}),
    )

    api.delete("RayCluster", "e2e", "bench")
    with refused(r"After 5 s there is still RayCluster e2e \(finalizers ray.io/redis-cleanup\)\."):
        api.wait_gone("RayCluster", "bench", name="e2e", deadline=5, report=ignore)
    with refused(r"Namespace old \(no finalizers: .*finalizers remaining: ray.io/.* controller that removes"):
        api.wait_gone("Namespace", name="old", deadline=1, report=ignore)


def test_a_log_is_the_end_of_it_and_bounded(fake: FakeKubernetes, api: Api) -> None:
    fake.logs["bench", "head", "ray", False] = "1\n2\n3\n"
    fake.logs["bench", "head", "ray", True] = "before\n"

    assert api.logs("bench", "head", "ray", lines=2) == "2\n3\n"
    assert api.logs("bench", "head", "ray", previous=True) == "before\n"
    assert int(fake.requests[-1].query["limitBytes"]) == 1 << 20
    fake.fail("GET", "/log", Answer(204))
    assert api.logs("bench", "pending", "ray") == "", "a pod that is on no node yet has none"
    with refused(r"read the log of container ray of pod gone in namespace bench .404.: pods .gone"):
        api.logs("bench", "gone", "ray")


def test_the_date_is_the_clusters_own(fake: FakeKubernetes, connect: Connect) -> None:
    behind = FakeClock(fake.clock.at - 3600)
    api = connect(clock=behind)

    api.version()

    assert api.utc() - behind.utc() == timedelta(hours=1)
    assert api.utc() == datetime.fromtimestamp(fake.clock.at, UTC)


def test_an_answer_that_is_no_kubernetes_is_named(fake: FakeKubernetes, api: Api) -> None:
    with refused("404 page not found"):
        api.raw("/login")


def test_events_are_in_the_order_in_which_they_were_last_seen() -> None:
    old = {"lastTimestamp": "2026-11-23T09:11:53Z", "eventTime": None, "reason": "1"}
    new = {"lastTimestamp": None, "eventTime": "2026-11-23T09:11:54.000000Z", "reason": "2"}
    series = {
        "eventTime": "2026-11-23T09:00:00.0Z",
        "series": {"lastObservedTime": "2026-11-23T09:11:55.0Z"},
        "reason": "3",
    }

    assert [each["reason"] for each in in_order([series, new, old])] == ["1", "2", "3"]


def test_credentials_that_are_refused_twice_are_an_error(fake: FakeKubernetes, api: Api) -> None:
    fake.fail("GET", "/version", UNAUTHORIZED, UNAUTHORIZED)

    with refused(r"does not accept these credentials .Unauthorized.*Log in again") as caught:
        api.version()
    assert not isinstance(caught.value, DeniedError)


def test_the_client_is_imported_only_where_a_cluster_is_asked() -> None:
    modules = "from fixtures.clusters.kubernetes.access import api, connection"
    script = [sys.executable, "-c", f"import sys; {modules}; print('kubernetes' in sys.modules)"]
    done = subprocess.run(script, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "False"
