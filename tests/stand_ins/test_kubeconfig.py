"""How a kubeconfig is read: contexts, credential plugins and proxies."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fixtures.clusters.kubernetes.access import connection
from fixtures.clusters.kubernetes.access.api import Api
from fixtures.errors import InfraError
from tests.stand_ins.fake_kubernetes import UNAUTHORIZED, FakeKubernetes


@pytest.fixture
def fake() -> Iterator[FakeKubernetes]:
    with FakeKubernetes() as fake:
        yield fake


def refused(message: str) -> Any:
    return pytest.raises(InfraError, match=message)


def test_a_kubeconfig_that_is_absent_broken_or_lacks_the_context_is_named(fake: FakeKubernetes, tmp_path: Path) -> None:
    good, broken = fake.kubeconfig(tmp_path), tmp_path / "broken"
    broken.write_text("clusters: [", encoding="utf-8")

    with refused(r"current context of .*/nowhere cannot be used: .*No configuration found"):
        Api(tmp_path / "nowhere", None)
    with refused(r"current context of .*/broken cannot be used: while parsing"):
        Api(broken, None)
    with refused(r"context minikube of .*/kubeconfig cannot be used: .*name minikube in .*contexts"):
        Api(good, "minikube")


def plugin(tmp_path: Path, script: str) -> dict[str, Any]:
    """A credential plugin as a kubeconfig names it."""
    file = tmp_path / "plugin.sh"
    file.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    file.chmod(0o755)
    return {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": str(file), "interactiveMode": "Never"}}


def credential(token: str) -> str:
    kind = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential"}
    return json.dumps({**kind, "status": {"token": token}})


def test_a_credential_plugin_is_asked_for_a_token_and_again_when_it_is_refused(
    fake: FakeKubernetes, tmp_path: Path
) -> None:
    user = plugin(tmp_path, f"echo x >> {tmp_path}/calls; echo '{credential('from-the-plugin')}'")
    api = Api(fake.kubeconfig(tmp_path, **user), None, clock=fake.clock)
    fake.fail("GET", "/version", UNAUTHORIZED)

    assert api.version() == "v1.34.4"
    assert fake.requests[-1].headers["Authorization"] == "Bearer from-the-plugin"
    assert (tmp_path / "calls").read_text(encoding="utf-8") == "x\nx\n"


def test_a_credential_plugin_that_fails_or_is_not_installed_is_named(fake: FakeKubernetes, tmp_path: Path) -> None:
    failing = fake.kubeconfig(tmp_path, **plugin(tmp_path, "echo session expired >&2; exit 3"))
    with refused(r"credential plugin of .* failed: exec: process returned 3. session expired"):
        Api(failing, None)
    absent = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "no-such-plugin"}}
    with refused(r"credential plugin of .* failed: .*No such file or directory: 'no-such-plugin'"):
        Api(fake.kubeconfig(tmp_path, **absent), None)


def test_a_credential_plugin_that_hangs_is_ended_and_named(
    fake: FakeKubernetes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "PLUGIN_SECONDS", 0.5)
    hanging = fake.kubeconfig(tmp_path, **plugin(tmp_path, "exec sleep 600"))

    with refused(r"credential plugin of .* did not end within 0.5 s and was ended: `(/bin/sh .*plugin.sh|sleep 600)`"):
        Api(hanging, None)


def test_a_node_on_this_machine_is_never_asked_through_a_proxy_and_another_says_no_proxy(
    fake: FakeKubernetes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "no_proxy"):
        monkeypatch.setenv(name, "" if name == "no_proxy" else "http://127.0.0.1:9")
    fake.address = fake.address.replace("127.0.0.1", "0.0.0.0")  # this machine, by an address that is no loopback
    config = fake.kubeconfig(tmp_path)

    assert Api(config, None, direct=True, clock=fake.clock).version() == "v1.34.4"
    with refused(r"Set NO_PROXY=0\.0\.0\.0 if it is reached without the proxy http://127\.0\.0\.1:9"):
        Api(config, None, clock=fake.clock).version()


def test_proxies_of_the_environment_are_not_used_here(
    fake: FakeKubernetes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "no_proxy"):
        monkeypatch.setenv(name, "" if name == "no_proxy" else "http://127.0.0.1:9")

    assert Api(fake.kubeconfig(tmp_path), None, clock=fake.clock).version() == "v1.34.4"


def test_a_proxy_of_the_kubeconfig_is_used_with_its_password(fake: FakeKubernetes, tmp_path: Path) -> None:
    config = json.loads(fake.kubeconfig(tmp_path).read_text(encoding="utf-8"))
    proxy = fake.address.replace("//", "//me:p%40ss@")
    config["clusters"][0]["cluster"] = {"server": "http://kubernetes.invalid:6443", "proxy-url": proxy}
    (tmp_path / "kubeconfig").write_text(json.dumps(config), encoding="utf-8")

    assert Api(tmp_path / "kubeconfig", None, clock=fake.clock).version() == "v1.34.4"
    assert fake.requests[-1].headers["Host"] == "kubernetes.invalid:6443"
    assert fake.requests[-1].headers["Proxy-Authorization"] == "Basic bWU6cEBzcw=="
