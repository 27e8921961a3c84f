"""Programs on PATH that replay recorded sessions: tests say what each answers, and see how it was called."""

import io
import json
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path

DATA = Path(__file__).resolve().parents[1] / "data"
SCRIPT = Path(__file__).with_name("stand_in.sh")
KUBECTL = Path(__file__).with_name("stand_in_kubectl.py")


def recorded(name: str) -> str:
    """What a real program printed."""
    return (DATA / name).read_text(encoding="utf-8")


def forwarding_kubectl(folder: Path, upstream: int) -> Path:
    """A kubectl in this folder that forwards to a port of this machine; the variable STAND_IN names the folder."""
    program = folder / "kubectl"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -S -E {KUBECTL} "$@"\n')
    program.chmod(0o755)
    (folder / "upstream").write_text(str(upstream))
    (folder / "mode").write_text("forward")
    return program


class StandIns:
    """A folder of stand-ins and their answers.

    Attributes:
        environ: the environment in which they are the only programs of their names.
    """

    def __init__(self, place: Path, names: Sequence[str]) -> None:
        self.place = place
        self._answers = place / "answers"
        self._answers.mkdir(parents=True)
        programs = place / "bin"
        programs.mkdir()
        for name in names:
            (programs / name).symlink_to(SCRIPT)
        self.environ = {
            "PATH": f"{programs}:/usr/bin:/bin",
            "STAND_IN": str(self._answers),
            "HOME": str(place / "user"),
        }

    def answer(
        self, command: str, out: str = "", *, err: str = "", code: int = 0, then: str = "", feed: bool = False
    ) -> None:
        """What a command says from now on; `then` is shell that it runs at last, `feed` keeps what it is fed."""
        folder = self._answers / command
        folder.mkdir(exist_ok=True)
        for name, text in (("out", out), ("err", err), ("code", str(code)), ("then", then)):
            (folder / name).unlink(missing_ok=True)
            if text:
                (folder / name).write_text(f"{text}\n" if name == "code" else text, encoding="utf-8")
        if feed:
            (folder / "feed").touch()

    def later(self, command: str, out: str) -> str:
        """Shell for another command's `then`: from that moment this one answers differently."""
        file = self._answers / f".{len(list(self._answers.iterdir()))}"
        file.write_text(out, encoding="utf-8")
        folder = self._answers / command
        return f"mkdir -p '{folder}'; cp '{file}' '{folder}/out'\n"

    def fed(self, command: str) -> str:
        """What a command was fed last."""
        return (self._answers / command / "feed").read_text(encoding="utf-8")

    def calls(self, of: str = "") -> list[str]:
        """Every call that begins like this, in order."""
        file = self._answers / "calls"
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        return [line for line in lines if line.startswith(of)]


def write_archive(path: Path, config: str, *tags: str) -> Path:
    """An archive as `docker save` writes it, without its layers."""
    text = json.dumps([{"Config": config, "RepoTags": list(tags), "Layers": []}]).encode()
    with tarfile.open(path, "w") as tar:
        member = tarfile.TarInfo("manifest.json")
        member.size = len(text)
        tar.addfile(member, io.BytesIO(text))
    return path


def docker_ps(*names: str, image: str = "node:1", state: str = "running") -> str:
    """What `docker ps --format {{json .}}` prints for containers whose ids are their names with an x before."""
    lines = [
        {"Command": '"/sbin/init"', "ID": f"x{name}", "Image": image, "Labels": "", "Names": name, "State": state}
        for name in names
    ]
    return "".join(json.dumps(line) + "\n" for line in lines)
