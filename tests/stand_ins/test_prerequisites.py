"""kubectl, Minikube, Helm and kind from a local server: pinned, checked, in the user's folder, nothing twice."""

import hashlib
import io
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fixtures.cli import prerequisites
from fixtures.cli.prerequisites import Wish, find_shadowed, install, parse_wish
from fixtures.cli.releases import PLATFORMS, Program, find_platform, read_pins
from fixtures.errors import InfraError, UsageError
from tests.stand_ins.file_server import Files, serving

PINS = read_pins()
HERE = find_platform()


def program_that_says(version: str) -> bytes:
    return f"#!/bin/sh\necho {version}\n".encode()


def archive(member: str, content: bytes) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as file:
        info = tarfile.TarInfo(member)
        info.size = len(content)
        file.addfile(info, io.BytesIO(content))
    return packed.getvalue()


class Mirror:
    """A mirror with every program for one platform, and pins that fit it."""

    def __init__(self, files: Files, where: str = HERE) -> None:
        self.files, self.where = files, where
        self.pins = {name: self.offer(program) for name, program in PINS.items()}

    def offer(self, program: Program, content: bytes = b"") -> Program:
        """Put a program there, and return a pin that fits; its content says its version by default."""
        content = content or program_that_says(program.version)
        if member := program.path_in_archive(self.where):
            content = archive(member, content)
        self.files.files[self.path(program)] = content
        return replace(program, sha256={self.where: hashlib.sha256(content).hexdigest()})

    def path(self, program: Program) -> str:
        return program.address(self.where).removeprefix("https://")

    def wish(self, folder: Path, *names: str, force: bool = False) -> Wish:
        asked = {"into": str(folder), "where": self.where, "mirror": self.files.address}
        return parse_wish(names, self.pins, {"HOME": "/nowhere"}, replace=force, **asked)


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    with serving() as files:
        yield Mirror(files)


ENVIRON = {"PATH": "/usr/bin:/bin"}


def test_the_usual_programs_are_installed_and_run(mirror: Mirror, tmp_path: Path) -> None:
    done = install(mirror.wish(tmp_path), ENVIRON, print)

    versions = [("kubectl", "v1.34.4"), ("minikube", "v1.38.1"), ("helm", "v3.19.0")]
    assert [(program["name"], program["version"]) for program in done] == versions
    assert {program["state"] for program in done} == {"installed"}
    assert {file.name for file in tmp_path.iterdir()} == {"kubectl", "minikube", "helm", prerequisites.NOTES}
    assert all((tmp_path / name).stat().st_mode & 0o777 == 0o755 for name, _ in versions)


def test_the_files_lie_on_a_mirror_by_host_and_path(mirror: Mirror, tmp_path: Path) -> None:
    install(mirror.wish(tmp_path, "kubectl"), ENVIRON, print)

    assert mirror.files.asked == [(f"dl.k8s.io/release/v1.34.4/bin/{HERE}/kubectl", "")]


def test_a_second_time_fetches_nothing(mirror: Mirror, tmp_path: Path) -> None:
    install(mirror.wish(tmp_path), ENVIRON, print)
    asked = len(mirror.files.asked)

    done = install(mirror.wish(tmp_path), ENVIRON, print)

    assert {program["state"] for program in done} == {"there already"}
    assert len(mirror.files.asked) == asked


def test_an_older_version_of_ours_is_replaced(mirror: Mirror, tmp_path: Path) -> None:
    older = dict(mirror.pins)
    mirror.pins["kind"] = mirror.offer(replace(PINS["kind"], version="v0.29.0"))
    install(mirror.wish(tmp_path, "kind"), ENVIRON, print)
    mirror.pins = older

    (done,) = install(mirror.wish(tmp_path, "kind"), ENVIRON, print)

    assert (done["name"], done["state"]) == ("kind", "installed")
    assert (tmp_path / "kind").read_bytes() == program_that_says("v0.30.0")


def test_somebody_elses_program_is_never_replaced_unasked(mirror: Mirror, tmp_path: Path) -> None:
    (tmp_path / "helm").write_text("mine")

    with pytest.raises(UsageError, match="helm: there already, and not from here; name another folder with --into"):
        install(mirror.wish(tmp_path), ENVIRON, print)

    assert (tmp_path / "helm").read_text() == "mine"
    assert mirror.files.asked == []
    install(mirror.wish(tmp_path, force=True), ENVIRON, print)
    assert (tmp_path / "helm").read_bytes() == program_that_says("v3.19.0")


@pytest.mark.parametrize("changed", [True, False], ids=["ours, but changed", "a link"])
def test_what_is_not_as_we_put_it_is_somebody_elses(mirror: Mirror, tmp_path: Path, changed: bool) -> None:
    if changed:
        install(mirror.wish(tmp_path, "kind"), ENVIRON, print)
        (tmp_path / "kind").write_text("changed")
    else:
        (tmp_path / "kind").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(UsageError, match="kind: there already"):
        install(mirror.wish(tmp_path, "kind"), ENVIRON, print)


@pytest.mark.parametrize("content", [b"something else", program_that_says("v1.34.4")[:-3]], ids=["wrong", "truncated"])
def test_what_is_not_the_pinned_file_is_not_installed(mirror: Mirror, tmp_path: Path, content: bytes) -> None:
    mirror.files.files[mirror.path(PINS["kubectl"])] = content

    with pytest.raises(InfraError, match=r"has SHA-256 .*, expected .*: nothing was installed"):
        install(mirror.wish(tmp_path, "kubectl"), ENVIRON, print)

    assert list(tmp_path.iterdir()) == []


def test_what_the_mirror_lacks_is_named_and_what_came_before_stays(mirror: Mirror, tmp_path: Path) -> None:
    del mirror.files.files[mirror.path(PINS["minikube"])]

    with pytest.raises(InfraError, match=r"minikube-[a-z]+-[a-z0-9]+: HTTP 404"):
        install(mirror.wish(tmp_path), ENVIRON, print)

    assert (tmp_path / "kubectl").exists()
    assert not (tmp_path / "minikube").exists()


def test_a_download_that_breaks_off_is_gone_on_from_by_the_next_call(mirror: Mirror, tmp_path: Path) -> None:
    path = mirror.path(PINS["helm"])
    content, mirror.files.files[path] = mirror.files.files[path], b""
    part = tmp_path / f".helm-{mirror.pins['helm'].sha256[HERE][:12]}.part"
    part.write_bytes(content[:50])
    mirror.files.files[path] = content

    install(mirror.wish(tmp_path, "helm"), ENVIRON, print)

    assert mirror.files.asked == [(path, "bytes=50-")]
    assert not part.exists()


def test_a_program_that_is_another_version_or_does_not_run_is_found(mirror: Mirror, tmp_path: Path) -> None:
    mirror.pins["kind"] = mirror.offer(PINS["kind"], program_that_says("v0.1.0"))

    with pytest.raises(InfraError, match=r"kind does not report version v0\.30\.0: v0\.1\.0"):
        install(mirror.wish(tmp_path, "kind"), ENVIRON, print)


@pytest.mark.parametrize("where", PLATFORMS)
def test_every_platform_has_its_files(tmp_path: Path, where: str) -> None:
    with serving() as files:
        mirror = Mirror(files, where)

        done = install(mirror.wish(tmp_path, "kubectl", "minikube", "helm", "kind"), ENVIRON, print)

    assert len(done) == 4
    assert all(part in path for part in where.split("/") for path, _ in files.asked)


def test_an_archive_without_the_program_is_refused(mirror: Mirror, tmp_path: Path) -> None:
    content = archive("other/helm", b"x")
    mirror.files.files[mirror.path(PINS["helm"])] = content
    mirror.pins["helm"] = replace(mirror.pins["helm"], sha256={HERE: hashlib.sha256(content).hexdigest()})

    with pytest.raises(InfraError, match="helm cannot be installed into"):
        install(mirror.wish(tmp_path, "helm"), ENVIRON, print)

    assert not (tmp_path / "helm").exists()


@pytest.mark.parametrize(
    ("file", "folder", "message"),
    [
        ("file", "file/bin", r"file/bin cannot be made: .*Name another folder with --into"),
        (prerequisites.NOTES, "", r"\.ray-train-e2e\.json cannot be read: .*Remove it"),
    ],
)
def test_a_folder_that_cannot_be_used_is_named(
    mirror: Mirror, tmp_path: Path, file: str, folder: str, message: str
) -> None:
    (tmp_path / file).write_text("{")

    with pytest.raises(InfraError, match=message):
        install(mirror.wish(tmp_path / folder, "kind"), ENVIRON, print)


def test_a_folder_that_is_not_on_path_and_a_program_before_it_are_said(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "kind").write_bytes(program_that_says("v1.0.0"))
    (other / "kind").chmod(0o755)
    done = [{"name": "kind", "path": f"{tmp_path}/bin/kind"}]

    assert find_shadowed(done, {"PATH": str(other)}) == [
        f'{tmp_path}/bin is not on PATH: export PATH="{tmp_path}/bin:$PATH"'
    ]
    assert find_shadowed(done, {"PATH": f"{other}:{tmp_path}/bin"}) == [
        f"PATH finds {other}/kind before {tmp_path}/bin/kind."
    ]
    assert find_shadowed(done, {"PATH": f"{tmp_path}/bin"}) == []
