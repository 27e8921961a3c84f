"""A machine with Minikube and Docker for tests: both are stand-ins that replay recorded sessions."""

import json
from pathlib import Path

from fixtures.clusters.kubernetes.engines.minikube import MinikubeEngine
from fixtures.system import leases
from fixtures.system.leases import Lease
from fixtures.system.resources import GIB, Machine
from tests.stand_ins.stand_in import StandIns, docker_ps, recorded

ROOMY = Machine(cores=(0, 1, 2, 3), quota=None, memory=32 * GIB, disk=100 * GIB)
NO_PROFILES = '{"invalid": [], "valid": []}'
NODES = docker_ps("rig2", "rig2-m02")
NO_PROCESS = 2**22 + 1
INFO = json.dumps({"NCPU": 4, "MemTotal": 32 * GIB, "DockerRootDir": "/nonexistent"})


class World(StandIns):
    """A machine on which `minikube start` makes rig2, two nodes, and `minikube delete` removes it."""

    def __init__(self, place: Path) -> None:
        super().__init__(place, ("minikube", "docker"))
        self.home = place / "home"
        self.profile = self.home / ".minikube" / "profiles" / "rig2"
        self.said: list[str] = []
        for command in ("docker ps", "docker network", "docker volume", "docker rm", "minikube addons"):
            self.answer(command)
        self.answer("docker info", INFO)
        self.answer("minikube profile list", NO_PROFILES)
        self.answer("minikube start", recorded("minikube-start-2nodes.jsonl"), then=self.made())
        self.answer("minikube delete", recorded("minikube-delete.jsonl"), then=self.gone())

    def made(self, profiles: str = "minikube-profile-list-2.json", nodes: str = NODES) -> str:
        return f"mkdir -p '{self.profile}'\n" + "".join(
            self.later(command, out)
            for command, out in (
                ("docker ps", nodes),
                ("minikube profile list", recorded(profiles)),
                ("minikube status", recorded("minikube-status-2nodes-fresh.json")),
            )
        )

    def gone(self) -> str:
        return (
            f"rm -rf '{self.profile}'\n"
            + self.later("docker ps", "")
            + self.later("minikube profile list", NO_PROFILES)
        )

    def engine(self, profile: str = "rig2", nodes: int = 2, **options: object) -> MinikubeEngine:
        given = {"home": self.home, "kubernetes_version": "v1.34.4", "root": False, "read": lambda place: ROOMY}
        return MinikubeEngine(profile, nodes, self.environ, **{**given, **options})  # type: ignore[arg-type]

    def up(self, **options: object) -> MinikubeEngine:
        engine = self.engine(**options)  # type: ignore[arg-type]
        engine.up(self.said.append)
        return engine

    def left_by_another_run(self, *, kept: bool = True) -> None:
        """A cluster of ours whose run has ended, as its start leaves it."""
        folder = self.engine().folder
        folder.mkdir(parents=True)
        leases.write_lease(folder, Lease(NO_PROCESS, kept, {"containers": ["xrig2", "xrig2-m02"]}))
        self.profile.mkdir(parents=True)
        self.answer("docker ps", NODES)
        self.answer("minikube profile list", recorded("minikube-profile-list-2.json"))
        self.answer("minikube status", recorded("minikube-status-2nodes-fresh.json"))

    def check(self) -> None:
        """What holds after every test: never more than the one profile is deleted."""
        assert not [call for call in self.calls("minikube") if "--all" in call or "--purge" in call]
        assert not [call for call in self.calls("minikube delete") if "--profile rig2" not in call]
