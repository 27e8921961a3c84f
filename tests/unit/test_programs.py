"""Which programs are pinned, for which machines, and how their versions are read."""

import re
from pathlib import Path

import pytest

from fixtures.cli.prerequisites import parse_wish
from fixtures.cli.releases import OLDEST, PLATFORMS, find_platform, is_new_enough, parse_version, read_pins
from fixtures.errors import UsageError
from fixtures.settings.kubernetes import MINIKUBE_KUBERNETES
from fixtures.system.programs import VERSION

PINS = read_pins()


def test_every_program_has_a_sum_for_every_platform_and_says_where_it_was_published() -> None:
    assert list(PINS) == ["kubectl", "minikube", "helm", "kind"]
    for program in PINS.values():
        assert tuple(program.sha256) == PLATFORMS
        assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in program.sha256.values())
        assert len(set(program.sha256.values())) == len(PLATFORMS)
        assert program.sums
        assert program.address("linux/amd64").startswith("https://")


def test_what_is_installed_is_new_enough_and_kubectl_is_of_the_default_cluster() -> None:
    assert all(is_new_enough(name, program.version) for name, program in PINS.items())
    assert PINS["kubectl"].version == MINIKUBE_KUBERNETES
    assert set(VERSION) == set(OLDEST) == {"docker", *PINS}


def test_addresses_are_those_of_the_publishers() -> None:
    assert PINS["helm"].address("darwin/arm64") == "https://get.helm.sh/helm-v3.19.0-darwin-arm64.tar.gz"
    assert PINS["helm"].path_in_archive("darwin/arm64") == "darwin-arm64/helm"
    assert PINS["kubectl"].path_in_archive("darwin/arm64") == ""


@pytest.mark.parametrize(("machine", "arch"), [("x86_64", "amd64"), ("aarch64", "arm64"), ("arm64", "arm64")])
@pytest.mark.parametrize("system", ["Linux", "Darwin"])
def test_this_machines_platform_is_known_or_refused(system: str, machine: str, arch: str) -> None:
    assert find_platform(system, machine) == f"{system.lower()}/{arch}"
    with pytest.raises(UsageError, match="This machine is windows/amd64: expected one of linux/amd64, "):
        find_platform("Windows", "AMD64")


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("kind v0.30.0 go1.26.8 linux/amd64", "v0.30.0"),
        ("Client Version: v1.32.4-dispatcher\nKustomize Version: v5.5.0", "v1.32.4-dispatcher"),
        ("v3.19.0+g3d8990f", "v3.19.0+g3d8990f"),
        ("28.2.2", "28.2.2"),
        ("v3.19", "v3.19"),
        ("20.10.24+dfsg1", "20.10.24+dfsg1"),
        ("go1.26.8", ""),
        ("", ""),
    ],
)
def test_a_version_is_read_from_what_programs_really_say(text: str, version: str) -> None:
    assert parse_version(text) == version


@pytest.mark.parametrize(
    ("name", "version", "good"),
    [("helm", "v3.13.9", False), ("helm", "v3.14.0", True), ("helm", "v4.2.3+g1", True), ("kind", "", False)],
)
def test_an_old_version_is_known(name: str, version: str, good: bool) -> None:
    assert is_new_enough(name, version) is good


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"names": ["k9s"]}, "prerequisites 'k9s': expected some of kubectl, minikube, helm, kind."),
        ({"where": "windows/amd64"}, "--platform='windows/amd64': expected one of linux/amd64"),
        ({"mirror": "ftp://x"}, "--mirror='ftp://x': expected an address such as"),
        ({"into": "~/bin"}, "--into='~/bin': expected a folder's path"),
        ({"into": ""}, "--into='': expected a folder's path"),
    ],
)
def test_a_wish_that_cannot_be_granted_is_refused(given: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        parse_wish(**{"names": [], "pins": PINS, "environ": {}, **given})  # type: ignore[arg-type]


def test_without_more_the_usual_three_go_to_the_users_own_folder() -> None:
    wish = parse_wish([], PINS, {"HOME": "/home/ann"}, where="linux/arm64")

    assert [program.name for program in wish.programs] == ["kubectl", "minikube", "helm"]
    assert wish.folder == Path("/home/ann/.local/bin")
    assert wish.address(PINS["kubectl"]) == "https://dl.k8s.io/release/v1.34.4/bin/linux/arm64/kubectl"


def test_a_mirror_has_the_files_by_host_and_path() -> None:
    wish = parse_wish([], PINS, {}, where="linux/arm64", mirror="https://mirror.example.org/files/")

    assert wish.address(PINS["kind"]) == (
        "https://mirror.example.org/files/github.com/kubernetes-sigs/kind/releases/download/v0.30.0/kind-linux-arm64"
    )
