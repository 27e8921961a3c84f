"""A local HTTP server of files that does what real servers do: ranges, breaks, refusals."""

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Files:
    """What the server has and how it behaves.

    Attributes:
        files: content by path, without the slash in front.
        ranges: whether it goes on from a byte that is asked for.
        cut: of the next answers, how many bytes come before the connection breaks; None for all.
        codes: status codes of the next answers, before any file is sent.
        shift: bytes by which a partial answer begins too late.
        asked: (path, Range header) of each request.
        address: of the server.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    ranges: bool = True
    cut: list[int | None] = field(default_factory=list)
    codes: list[int] = field(default_factory=list)
    shift: int = 0
    asked: list[tuple[str, str]] = field(default_factory=list)
    address: str = ""


@contextmanager
def serving() -> Iterator[Files]:
    """A server on loopback until the block ends."""
    files = Files()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            wanted = self.headers.get("Range", "")
            files.asked.append((self.path[1:], wanted))
            content = files.files.get(self.path[1:])
            if files.codes:
                self.send_error(files.codes.pop(0))
            elif content is None:
                self.send_error(404)
            else:
                self._send(content, int(wanted.removeprefix("bytes=").rstrip("-") or 0) if files.ranges else 0)

        def _send(self, content: bytes, begin: int) -> None:
            if begin and begin >= len(content):
                self.send_error(416)
                return
            begin += files.shift if begin else 0
            body = content[begin:]
            self.send_response(206 if begin else 200)
            self.send_header("Content-Length", str(len(body)))
            if begin:
                self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
            self.end_headers()
            cut = files.cut.pop(0) if files.cut else None
            self.wfile.write(body[:cut])
            if cut is not None:
                self.close_connection = True

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    files.address = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield files
    finally:
        server.shutdown()
        server.server_close()
