"""Embedded clusters that earlier processes kept or left: found, claimed, given back, ended. No Ray."""

from dataclasses import replace
from pathlib import Path

import pytest

from fixtures.clusters.local import inventory as local_clusters
from fixtures.clusters.local.provider import LocalProvider
from fixtures.clusters.ray_state import NodeState
from fixtures.errors import UsageError
from fixtures.system import leases, processes
from fixtures.system.leases import Lease, Ownership

KEPT = Lease(pid=2**22 - 1, kept=True)
"""Of a process that does not exist."""

ALIVE = {"head": NodeState("ALIVE", 0), "worker-1": NodeState("ALIVE", 1)}


@pytest.fixture
def provider(tmp_path: Path) -> LocalProvider:
    return LocalProvider(1, 1, {}, places=[tmp_path])


def leave(place: Path, name: str, lease: Lease | None) -> Path:
    run = place / f"{processes.PREFIX}{name}"
    run.mkdir()
    if lease is not None:
        leases.write_lease(run, lease)
    return run


def extra(provider: LocalProvider) -> dict[str, object]:
    return {**provider.shape(), "dashboard": "http://127.0.0.1:1", "token": "s3cret", "nodes": ["worker-1"]}


def test_every_kept_cluster_is_claimed_whatever_its_shape_and_ended(provider: LocalProvider, tmp_path: Path) -> None:
    runs = [leave(tmp_path, name, replace(KEPT, extra={"cpus_per_worker": name})) for name in ("a", "b")]

    assert provider.claim(lambda line: None)
    provider.down()

    assert [run.exists() for run in runs] == [False, False]
    assert not provider.claim(lambda line: None)


def test_what_was_claimed_and_is_given_back_is_kept_as_before(provider: LocalProvider, tmp_path: Path) -> None:
    run = leave(tmp_path, "a", KEPT)

    provider.claim(lambda line: None)
    claimed = leases.read_lease(run)
    provider.give_back()
    provider.down()

    left = leases.read_lease(run)
    assert claimed is not None
    assert left is not None
    assert (claimed.kept, left.kept) == (False, True)


def test_a_reset_ends_what_was_claimed_and_says_so(provider: LocalProvider, tmp_path: Path) -> None:
    run = leave(tmp_path, "a", KEPT)
    said: list[str] = []

    provider.claim(said.append)
    provider.reset(said.append)

    assert said == [f"ending the embedded cluster in {run}"]
    assert not run.exists()


def test_a_cluster_in_use_stays_and_one_left_by_a_killed_run_goes(provider: LocalProvider, tmp_path: Path) -> None:
    used = leave(tmp_path, "used", Lease(1))
    other = Ownership.take(used)
    left = leave(tmp_path, "left", replace(KEPT, kept=False))
    said: list[str] = []

    assert not provider.claim(said.append)

    assert said == [
        f"removed what an earlier run had left: {left}",
        f"the embedded cluster in {used} is in use by process 1: it stays",
    ]
    assert used.exists()
    assert other is not None
    other.release()


def test_without_any_cluster_the_status_says_so_and_none_can_be_stopped(provider: LocalProvider) -> None:
    assert provider.status().parts == ()
    assert provider.status().missing == "No embedded cluster of this shape is up."
    with pytest.raises(UsageError, match="processes of this machine"):
        provider.stop(print)


@pytest.mark.parametrize(
    ("kept", "owned", "whose", "whole"),
    [
        (True, False, "kept", True),
        (False, True, "in use by process 1", True),
        (True, True, "kept, free once process 1 has ended", True),
        (False, False, "left by a run that was killed", False),
    ],
)
def test_the_status_says_whose_a_cluster_is_and_that_its_nodes_are_alive(
    provider: LocalProvider,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kept: bool,
    owned: bool,
    whose: str,
    whole: bool,
) -> None:
    run = leave(tmp_path, "a", Lease(1, kept, extra(provider)))
    ownership = Ownership.take(run) if owned else None
    monkeypatch.setattr(local_clusters, "node_states", lambda dashboard, token: ALIVE)

    found = provider.status()

    assert found.parts == ((str(run), f"{whose}, 2 Ray nodes are alive, dashboard http://127.0.0.1:1"),)
    assert (found.missing == "") is whole
    assert found.dashboard == ("http://127.0.0.1:1" if whole else "")
    assert "s3cret" not in repr(found)
    if ownership:
        ownership.release()


def test_a_cluster_that_is_not_as_asked_for_or_not_alive_is_shown_and_does_not_count(
    provider: LocalProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave(tmp_path, "dead", replace(KEPT, extra=extra(provider)))
    leave(tmp_path, "other", replace(KEPT, extra=extra(provider) | {"cpus_per_worker": 4}))
    ownership = Ownership.take(leave(tmp_path, "starting", Lease(1)))
    leave(tmp_path, "unleased", None)
    monkeypatch.setattr(local_clusters, "node_states", lambda dashboard, token: {"head": NodeState("ALIVE", 0)})

    found = provider.status()

    said = [state for _, state in found.parts]
    assert said[0].startswith("kept, Ray nodes are gone: worker-1, dashboard")
    assert said[1].endswith("it has another shape")
    assert said[2:] == ["being started, in use by process 1", "being made"]
    assert found.missing
    assert ownership is not None
    ownership.release()
