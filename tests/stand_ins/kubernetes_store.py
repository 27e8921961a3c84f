"""The objects of a fake Kubernetes API: stored, applied and deleted by its rules, without HTTP.

Written from the API's documentation, not from the client under test: it has no table of kinds, and refuses what
a real server refuses, such as an object in a namespace that does not exist.
"""

import re
from collections.abc import Callable, Mapping
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

from fixtures.system.waiting import Clock

Json = dict[str, Any]
BUILT_IN = ("api/v1", "apis/apps/v1", "apis/batch/v1")
PATH = re.compile(
    r"/(?P<group>api/v1|apis/[^/]+/[^/]+)(?:/namespaces/(?P<namespace>[^/]+)(?=/[^/]))?"
    r"/(?P<plural>[a-z]+)(?:/(?P<name>[^/]+))?(?:/(?P<sub>log))?"
)


class FakeClock(Clock):
    """A clock that stands still until somebody sleeps.

    Attributes:
        meanwhile: what happens whenever somebody has slept.
    """

    def __init__(self, at: float = 1_795_425_000.0) -> None:
        self.at = at
        self.slept: list[float] = []
        self.meanwhile: Callable[[], object] = lambda: None

    def now(self) -> float:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.at += seconds
        self.meanwhile()

    def utc(self) -> datetime:
        return datetime.fromtimestamp(self.at, UTC)


class RefusedError(Exception):
    """An answer that is not 200."""

    def __init__(self, code: int, reason: str, message: str, **details: Any) -> None:
        super().__init__(message)
        self.code, self.reason, self.message, self.details = code, reason, message, details


class Store:
    """Objects by group, plural, namespace and name.

    Attributes:
        clock: deletions follow it.
        grace: seconds until what belongs to a deleted object is gone, too.
        page: objects in one answer to a list, at most.
    """

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.grace = 0.0
        self.page = 500
        self._objects: dict[tuple[str, str], dict[tuple[str, str], Json]] = {}
        self._applied: dict[tuple[tuple[str, str], tuple[str, str]], Json] = {}
        self._dying: list[tuple[float, tuple[str, str], tuple[str, str]]] = []
        self._version = 100

    def put(self, *objects: Mapping[str, Any]) -> None:
        """Store objects as they are, or the items of a List."""
        for each in objects:
            if each["kind"].endswith("List"):
                self.put(*each["items"])
                continue
            stored = deepcopy(dict(each))
            fresh = {"uid": f"uid-{self._next()}", "resourceVersion": str(self._next())}
            stored["metadata"] = {**fresh, **each["metadata"]}
            place, key = _place(stored)
            self._objects.setdefault(place, {})[key] = stored

    def remove(self, kind: str, namespace: str, name: str | None = None) -> None:
        """Take away one object of a kind, or all of them in a namespace, at once."""
        for (_, plural), objects in self._objects.items():
            if plural == _plural(kind):
                for key in [key for key in objects if key[0] == namespace and name in (None, key[1])]:
                    del objects[key]

    def find(self, kind: str, name: str) -> Json | None:
        """The object of this kind and name, in whatever namespace."""
        self.advance()
        for (_, plural), objects in self._objects.items():
            for (_, key), each in objects.items():
                if plural == _plural(kind) and key == name:
                    return each
        return None

    def get(self, at: re.Match[str], _: Mapping[str, str]) -> Json:
        stored = self._objects.get((at["group"], at["plural"]), {}).get((at["namespace"] or "", at["name"]))
        if stored is None:
            raise absent(at["plural"], at["group"], at["name"])
        return stored

    def list(self, at: re.Match[str], query: Mapping[str, str]) -> Json:
        chosen = [
            deepcopy(each)
            for (namespace, _), each in sorted(self._objects.get((at["group"], at["plural"]), {}).items())
            if at["namespace"] in (None, namespace)
            and _labelled(each, query.get("labelSelector", ""))
            and _has_fields(each, query.get("fieldSelector", ""))
        ]
        begin = int(query.get("continue", "0"))
        end = begin + min(self.page, int(query.get("limit", "500")))
        page = chosen[begin:end]
        if at["group"] in BUILT_IN:  # a real server leaves out what the list says already
            for each in page:
                each.pop("kind", None)
                each.pop("apiVersion", None)
        metadata = {"resourceVersion": str(self._version), **({"continue": str(end)} if end < len(chosen) else {})}
        return {"kind": "List", "apiVersion": "v1", "metadata": metadata, "items": page}

    def create(self, at: re.Match[str], made: Json) -> Json:
        """A new object; there must be none of its name."""
        _, key = _place(made)
        self._require_namespace(key[0], f'{at["plural"]} "{key[1]}" is forbidden')
        if key in self._objects.get((at["group"], at["plural"]), {}):
            raise RefusedError(409, "AlreadyExists", f'{at["plural"]} "{key[1]}" already exists')
        self.put(made)
        return self._objects[(at["group"], at["plural"])][key]

    def update(self, at: re.Match[str], changed: Json) -> Json:
        """The whole object anew."""
        stored = self.get(at, {})
        kept = {"uid": stored["metadata"]["uid"]}
        metadata = {**kept, **changed["metadata"], "resourceVersion": str(self._next())}
        stored.clear()
        stored.update({**deepcopy(changed), "metadata": metadata})
        return stored

    def apply(self, at: re.Match[str], manifest: Json) -> Json:
        """Server-side apply by force; the only kind of patch that is known here."""
        place, key = _place(manifest)
        assert (place, key) == ((at["group"], at["plural"]), (at["namespace"] or "", at["name"]))
        self._require_namespace(key[0], f'{at["plural"]} "{key[1]}" is forbidden')
        objects = self._objects.setdefault(place, {})
        old = objects.get(key)
        fresh = {"metadata": {"uid": f"uid-{self._next()}", "creationTimestamp": self._stamp()}}
        new: Json = deepcopy(old) if old else fresh
        _drop(new, self._applied.get((place, key), {}), manifest)
        _merge(new, manifest)
        self._applied[(place, key)] = deepcopy(manifest)
        if new != old:
            meta = new["metadata"]
            if old is None or _content(new) != _content(old):
                meta["generation"] = meta.get("generation", 0) + 1
            meta["resourceVersion"] = str(self._next())
        objects[key] = new
        return new

    def delete(self, at: re.Match[str], query: Mapping[str, str]) -> Json:
        """Foreground deletion: the object goes once everything that it owns has gone."""
        stored = self.get(at, query)
        uid = stored["metadata"]["uid"]
        doomed = [
            (place, key, each)
            for place, objects in self._objects.items()
            for key, each in objects.items()
            if any(owner["uid"] == uid for owner in each["metadata"].get("ownerReferences", []))
        ]
        gone = self.clock.at + (self.grace if doomed else 0.0)
        for place, key, each in [*doomed, (*_place(stored), stored)]:
            each["metadata"].setdefault("deletionTimestamp", self._stamp())
            self._dying.append((gone, place, key))
        self.advance()
        return stored

    def advance(self) -> None:
        """Let go what is deleted, whose time has come, and which nothing holds back."""
        for each in [each for each in self._dying if each[0] <= self.clock.at]:
            stored = self._objects.get(each[1], {})
            if not stored.get(each[2], {}).get("metadata", {}).get("finalizers"):
                stored.pop(each[2], None)
                self._dying.remove(each)

    def _require_namespace(self, name: str, forbidden: str) -> None:
        if not name:
            return
        namespace = self._objects.get(("api/v1", "namespaces"), {}).get(("", name))
        if namespace is None:
            raise absent("namespaces", "api/v1", name)
        if namespace["metadata"].get("deletionTimestamp"):
            why = f"unable to create new content in namespace {name} because it is being terminated"
            causes = [{"reason": "NamespaceTerminating", "message": f"namespace {name} is being terminated"}]
            raise RefusedError(403, "Forbidden", f"{forbidden}: {why}", causes=causes)

    def _next(self) -> int:
        self._version += 1
        return self._version

    def _stamp(self) -> str:
        return self.clock.utc().strftime("%Y-%m-%dT%H:%M:%SZ")


def ignore(_: str) -> None:
    """Hear a line and forget it."""


def absent(plural: str, group: str, name: str) -> RefusedError:
    kind = plural if group == "api/v1" else f"{plural}.{group.split('/')[1]}"
    return RefusedError(404, "NotFound", f'{kind} "{name}" not found', name=name, kind=plural)


def forbidden(verb: str, at: re.Match[str]) -> RefusedError:
    """What RBAC says to a user who lacks a right."""
    plural, group = at["plural"], "" if at["group"] == "api/v1" else at["group"].split("/")[1]
    subject = f'{plural} "{at["name"]}" is forbidden' if at["name"] else f"{plural} is forbidden"
    where = f'in the namespace "{at["namespace"]}"' if at["namespace"] else "at the cluster scope"
    cannot = f'User "dev" cannot {verb} resource "{plural}" in API group "{group}" {where}'
    return RefusedError(403, "Forbidden", f"{subject}: {cannot}", kind=plural)


def _plural(kind: str) -> str:
    return kind.lower()[:-1] + "ies" if kind.endswith("y") else kind.lower() + "s"


def _place(stored: Mapping[str, Any]) -> tuple[tuple[str, str], tuple[str, str]]:
    version = stored["apiVersion"]
    group = "api/v1" if version == "v1" else f"apis/{version}"
    return (group, _plural(stored["kind"])), (stored["metadata"].get("namespace", ""), stored["metadata"]["name"])


def _content(stored: Json) -> Json:
    return {key: value for key, value in stored.items() if key not in ("metadata", "status")}


def _labelled(stored: Json, selector: str) -> bool:
    labels = stored["metadata"].get("labels", {})
    return all(labels.get(key) == value for key, value in (each.split("=", 1) for each in selector.split(",") if each))


def _has_fields(stored: Json, selector: str) -> bool:
    for name, value in (each.split("=", 1) for each in selector.split(",") if each):
        found: Any = stored
        for part in name.split("."):
            found = found.get(part, {})
        if found != value:
            return False
    return True


def _merge(into: Json, manifest: Mapping[str, Any]) -> None:
    """Maps are merged, lists replaced: as for the fields of a CRD without list keys."""
    for key, value in manifest.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = deepcopy(value)


def _drop(stored: Json, owned: Mapping[str, Any], manifest: Mapping[str, Any]) -> None:
    """Remove what a manager applied earlier and no longer does."""
    for key, value in owned.items():
        if key not in manifest:
            stored.pop(key, None)
        elif isinstance(value, dict) and isinstance(manifest[key], dict):
            _drop(stored.get(key, {}), value, manifest[key])
