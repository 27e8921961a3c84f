"""A Kubernetes API on loopback for tests: answers with the truth, fails on request, and replays recordings.

with FakeKubernetes() as fake:
    fake.put(namespace)
    fake.fail("GET", "/pods", BUSY, DROPPED)
    api = Api(fake.kubeconfig(tmp_path), None, clock=fake.clock)
"""

import json
import re
import ssl
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from tests.stand_ins.http_server import Reply, answering
from tests.stand_ins.kubernetes_store import PATH, FakeClock, Json, RefusedError, Store, absent, forbidden

TOKEN = "kubernetes-test-token"


@dataclass(frozen=True)
class Request:
    """What a client asked."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any


@dataclass(frozen=True)
class Answer:
    """What a server says instead of the truth.

    Attributes:
        code: HTTP status; 0 closes the connection without a word; 200 tells the truth, late.
        wait: real seconds before it answers.
    """

    code: int = 200
    reason: str = ""
    message: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    wait: float = 0.0

    @property
    def content(self) -> Json | str:
        return _status(self.code, self.reason, self.message)


DROPPED = Answer(0)
BUSY = Answer(429, "TooManyRequests", "too many requests, please try again later", {"Retry-After": "2"})
EXPIRED = Answer(410, "Expired", "The provided continue parameter is too old to display a consistent list result.")
UNAVAILABLE = Answer(503, "ServiceUnavailable", "the server is currently unable to handle the request")
UNAUTHORIZED = Answer(401, "Unauthorized", "Unauthorized")


class FakeKubernetes(Store):
    """A server on loopback, running from `with` on; what it stores is prepared and asked as a Store.

    Attributes:
        address: its URL.
        requests: every request so far.
        logs: (namespace, pod, container, previous) -> log of a container.
        unknown: plurals that this server does not have, such as rayclusters before their CRD is applied.
        down: drops every connection.
    """

    def __init__(self, clock: FakeClock | None = None, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(clock or FakeClock())
        self._tls = tls
        self.address = ""
        self.requests: list[Request] = []
        self.logs: dict[tuple[str, str, str, bool], str] = {}
        self.unknown: set[str] = set()
        self.down = False
        self._failures: list[tuple[str, str, Answer]] = []
        self._denied: list[tuple[str, str]] = []
        self._denied_everywhere: list[tuple[str, str]] = []
        self._recorded: list[Json] = []
        self._lock = threading.RLock()
        self._serving = ExitStack()

    def fail(self, method: str, path: str, *answers: Answer) -> None:
        """Answer the next requests whose path holds `path` so, one each; then with the truth again."""
        self._failures += [(method, path, answer) for answer in answers]

    def deny(self, verb: str, plural: str) -> None:
        """Forbid a verb (get, list, create, update, patch, delete) on a kind of object."""
        self._denied.append((verb, plural))

    def deny_everywhere(self, verb: str, plural: str) -> None:
        """Forbid a verb on a kind of object outside of one namespace."""
        self._denied_everywhere.append((verb, plural))

    def replay(self, *timelines: str) -> float:
        """Serve recordings as the clock passes, from their beginning, to which it is set; seconds until the last line.

        They are lines of {"t": seconds since 1970, "object": an object or a List} or, without an answer, "error".
        """
        rows = [json.loads(line) for each in timelines for line in each.splitlines()]
        self._recorded = sorted(rows, key=lambda row: row["t"])
        # All that was recorded within the first second was there before: several recorders start one after another.
        self.clock.at = self._recorded[0]["t"] + 1
        return float(self._recorded[-1]["t"] - self.clock.at)

    def kubeconfig(self, folder: Path, **user: Any) -> Path:
        """A kubeconfig for this server, with a token unless another user is given."""
        file = folder / "kubeconfig"
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "fake",
            "clusters": [{"name": "fake", "cluster": {"server": self.address}}],
            "users": [{"name": "fake", "user": user or {"token": TOKEN}}],
            "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "fake"}}],
        }
        file.write_text(json.dumps(config), encoding="utf-8")  # JSON is YAML
        return file

    def asked(self, method: str, path: str = "") -> list[Request]:
        """The requests with this method whose path holds `path`."""
        return [each for each in self.requests if each.method == method and path in each.path]

    def __enter__(self) -> Self:
        self.address = self._serving.enter_context(answering(self.reply, self._tls))
        return self

    def __exit__(self, *_: object) -> None:
        self._serving.close()

    def reply(self, call: BaseHTTPRequestHandler) -> Reply:
        """Answer one request, or fail as asked."""
        url = urlsplit(call.path)
        body = call.rfile.read(int(call.headers.get("Content-Length") or 0))
        headers = {name.title(): value for name, value in call.headers.items()}
        request = Request(
            call.command, url.path, dict(parse_qsl(url.query)), headers, json.loads(body) if body else None
        )
        with self._lock:
            self.requests.append(request)
            self.advance()
            answer = DROPPED if self.down else self._failure(request)
        time.sleep(answer.wait)
        with self._lock:
            code, content = self._truth(request) if answer.code == 200 else (answer.code, answer.content)
            text = "" if code == 204 else content if isinstance(content, str) else json.dumps(content)
        kind = "text/plain" if isinstance(content, str) else "application/json"
        date = format_datetime(self.clock.utc(), usegmt=True)
        return code, text.encode(), {**answer.headers, "Content-Type": kind, "Date": date}

    def advance(self) -> None:
        """Bring the recording and deletions up to the clock."""
        while self._recorded and self._recorded[0]["t"] <= self.clock.at:
            row = self._recorded.pop(0)
            shown = row.get("object")
            self.down = shown is None and "NotFound" not in row["error"]
            if shown is None:
                continue
            if shown["kind"] == "List" and shown["items"]:
                first = shown["items"][0]
                self.remove(first["kind"], first["metadata"].get("namespace", ""))
            self.put(shown)
        super().advance()

    def _truth(self, request: Request) -> tuple[int, Json | str]:
        if request.path == "/version":
            return 200, {"major": "1", "minor": "34", "gitVersion": "v1.34.4"}
        at = PATH.fullmatch(request.path)
        if at is None or at["plural"] in self.unknown:
            return 404, "404 page not found\n"
        verbs = {"GET": "get" if at["name"] else "list", "POST": "create", "PUT": "update"}
        verb = verbs.get(request.method, request.method.lower())
        try:
            if (verb, at["plural"]) in (*self._denied, *(() if at["namespace"] else self._denied_everywhere)):
                raise forbidden(verb, at)
            if at["sub"]:
                return 200, self._log(at, request.query)
            if verb == "patch":
                return 200, self.apply(at, request.body)
            if verb == "create":
                return 201, self.create(at, request.body)
            if verb == "update":
                return 200, self.update(at, request.body)
            return 200, {"get": self.get, "list": self.list, "delete": self.delete}[verb](at, request.query)
        except RefusedError as refused:
            return refused.code, _status(refused.code, refused.reason, refused.message, **refused.details)

    def _log(self, at: re.Match[str], query: Mapping[str, str]) -> str:
        key = (at["namespace"], at["name"], query.get("container", ""), query.get("previous") == "true")
        if key not in self.logs:
            what = f'previous terminated container "{key[2]}" in pod "{key[1]}" not found'
            raise RefusedError(400, "BadRequest", what) if key[3] else absent("pods", "api/v1", at["name"])
        lines = self.logs[key].splitlines(keepends=True)
        return "".join(lines[-int(query["tailLines"]) :])[: int(query["limitBytes"])]

    def _failure(self, request: Request) -> Answer:
        for index, (method, path, answer) in enumerate(self._failures):
            if method == request.method and path in request.path:
                del self._failures[index]
                return answer
        return Answer()


def _status(code: int, reason: str, message: str, **details: Any) -> Json:
    about = {"status": "Failure", "message": message, "reason": reason, "details": details, "code": code}
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, **about}
