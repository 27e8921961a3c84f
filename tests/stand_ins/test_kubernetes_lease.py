"""One run at a time in a namespace of somebody else's cluster, and nobody is kept out by a run that is dead."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fixtures.clusters.kubernetes.access.api import Api
from fixtures.clusters.kubernetes.namespace.lease import DURATION_SECONDS, Lease
from fixtures.errors import InfraError
from tests.stand_ins.fake_kuberay import SPACE, thing
from tests.stand_ins.fake_kubernetes import UNAVAILABLE, FakeKubernetes
from tests.stand_ins.kubernetes_store import ignore

LIMIT = 30.0
RENEWED = "2026-11-23T09:10:00.000000Z"  # when the fake clock begins


@pytest.fixture
def fake() -> Iterator[FakeKubernetes]:
    with FakeKubernetes() as server:
        server.put(thing("Namespace", SPACE, None))
        yield server


@pytest.fixture
def api(fake: FakeKubernetes, tmp_path: Path) -> Api:
    return Api(fake.kubeconfig(tmp_path), None, clock=fake.clock)


def of_another_run(fake: FakeKubernetes, **spec: Any) -> None:
    times = {"acquireTime": RENEWED, "renewTime": RENEWED}
    spec = {"holderIdentity": "theirs, process 7", "leaseDurationSeconds": DURATION_SECONDS, **times, **spec}
    fake.put(thing("Lease", "e2e", spec=spec) | {"apiVersion": "coordination.k8s.io/v1"})


def holder(fake: FakeKubernetes) -> str:
    found = fake.find("Lease", "e2e")
    return "" if found is None else str(found["spec"]["holderIdentity"])


def test_a_free_namespace_is_taken_and_given_up_without_a_trace(fake: FakeKubernetes, api: Api) -> None:
    lease = Lease(api, SPACE)

    lease.take(ignore)
    assert "process" in holder(fake)
    lease.take(ignore)  # is no second run
    lease.give_up()
    lease.give_up()

    assert fake.find("Lease", "e2e") is None


def test_a_run_that_lives_is_named_as_soon_as_it_shows_that(fake: FakeKubernetes, api: Api) -> None:
    of_another_run(fake)

    def renew() -> None:
        if len(fake.clock.slept) == 5:
            of_another_run(fake, renewTime="2026-11-23T09:10:05.000000Z")

    fake.clock.meanwhile = renew

    with pytest.raises(InfraError) as refused:
        Lease(api, SPACE).take(ignore)

    said = f"Namespace {SPACE} is in use by theirs, process 7, since 2026-11-23T09:10:00Z."
    assert refused.value.cause == said
    assert "--namespace" in refused.value.remedy
    assert holder(fake) == "theirs, process 7"
    assert len(fake.clock.slept) == 5


@pytest.mark.parametrize(
    ("last_renewed", "waited"),
    [
        pytest.param(RENEWED, DURATION_SECONDS, id="just now"),
        pytest.param("2026-11-23T19:10:00.000000Z", DURATION_SECONDS, id="in the future, by another clock"),
        pytest.param("2026-11-22T09:10:00.000000Z", 0, id="long ago"),
    ],
)
def test_a_run_that_was_killed_keeps_nobody_out_for_long(
    fake: FakeKubernetes, api: Api, last_renewed: str, waited: float
) -> None:
    of_another_run(fake, renewTime=last_renewed)
    said: list[str] = []
    lease = Lease(api, SPACE)

    lease.take(said.append)

    assert waited <= sum(fake.clock.slept) <= waited + 2
    assert holder(fake) != "theirs, process 7"
    words = "is in use by theirs, process 7, since 2026-11-23T09:10:00Z: waiting whether that run lives"
    assert said == ([f"namespace {SPACE} {words}"] if waited else [])
    lease.give_up()


def test_of_two_runs_that_begin_at_once_one_gets_it(fake: FakeKubernetes, api: Api) -> None:
    one, other = Lease(api, SPACE, renew_seconds=0.02), Lease(api, SPACE)
    create = api.create

    def quicker(manifest: Any) -> Any:
        api.create = create  # type: ignore[method-assign]
        one.take(ignore)
        return api.create(manifest)

    api.create = quicker  # type: ignore[method-assign]
    fake.clock.meanwhile = lambda: time.sleep(0.05)

    with pytest.raises(InfraError, match="is in use by"):
        other.take(ignore)

    assert one.held
    assert not other.held
    other.give_up()
    assert holder(fake)
    one.give_up()


def test_it_is_renewed_as_long_as_the_run_lives_also_after_an_api_that_was_away(
    fake: FakeKubernetes, tmp_path: Path
) -> None:
    lease = Lease(Api(fake.kubeconfig(tmp_path), None, clock=fake.clock, patience=0), SPACE, renew_seconds=0.02)
    lease.take(ignore)
    fake.fail("GET", "/leases", *[UNAVAILABLE] * 3)
    fake.clock.at += 40

    wait_until(lambda: "09:10:40" in renewed(fake))

    assert lease.held
    lease.give_up()


def test_a_lease_that_was_lost_is_said_and_not_taken_back(fake: FakeKubernetes, api: Api) -> None:
    lease = Lease(api, SPACE, renew_seconds=0.02)
    lease.take(ignore)
    of_another_run(fake)

    wait_until(lambda: not lease.held)

    assert lease.lost.startswith(f"Namespace {SPACE} was taken over; its Lease is held by theirs, process 7")
    lease.give_up()
    assert holder(fake) == "theirs, process 7"


def test_who_may_not_make_leases_is_told_and_goes_on(fake: FakeKubernetes, api: Api) -> None:
    fake.deny("create", "leases")
    said: list[str] = []
    lease = Lease(api, SPACE)

    lease.take(said.append)

    assert len(said) == 1
    assert f"no Lease keeps other runs out of namespace {SPACE}: This user may not create Lease e2e" in said[0]
    lease.give_up()


def renewed(fake: FakeKubernetes) -> str:
    found = fake.find("Lease", "e2e")
    return "" if found is None else str(found["spec"]["renewTime"])


def wait_until(true: Any) -> None:
    until = time.monotonic() + LIMIT
    while not true():
        assert time.monotonic() < until
        time.sleep(0.01)
