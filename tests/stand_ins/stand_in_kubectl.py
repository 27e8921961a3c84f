"""A stand-in for `kubectl port-forward`: forwards to a port of this machine and fails as the real one does.

Its folder, in the environment variable STAND_IN, holds `mode` (what to do), `upstream` (the port to forward to)
and `calls`, to which it adds its process id and its arguments. The modes:

forward   connections are forwarded
lost      the pod is gone: as the real one, it ends at the first new connection, without an answer
dying     the pod is gone: likewise, and from then on as pending
pending   the pod does not run: it ends at once
nopod     the service has no pod: likewise
notfound  there is no such service: it ends at once
taken     somebody else has the local port: it ends at once
hang      connections are accepted and never answered
stubborn  as hang, and SIGTERM is ignored
"""

import os
import signal
import socket
import sys
import threading
from pathlib import Path

HOME = Path(os.environ["STAND_IN"])
WORDS = {
    "lost": "error: lost connection to pod",
    "pending": "error: unable to forward port because pod is not running. Current status=Pending",
    "nopod": "error: timed out waiting for the condition",
    "notfound": 'Error from server (NotFound): services "e2e-head-svc" not found',
    "taken": "error: unable to listen on any of the requested ports: [{40123 8265}]",
}


def mode() -> str:
    return (HOME / "mode").read_text()


def fail(said: str) -> None:
    print(WORDS[said], file=sys.stderr, flush=True)
    os._exit(1)


def copy(source: socket.socket, sink: socket.socket) -> None:
    while data := source.recv(65536):
        sink.sendall(data)
    sink.shutdown(socket.SHUT_WR)


def forward(client: socket.socket) -> None:
    upstream = socket.create_connection(("127.0.0.1", int((HOME / "upstream").read_text())))
    threading.Thread(target=copy, args=(client, upstream), daemon=True).start()
    copy(upstream, client)


def main() -> None:
    asked = mode()
    with (HOME / "calls").open("a") as calls:
        print(os.getpid(), *sys.argv[1:], file=calls)
    if asked in ("pending", "nopod", "notfound", "taken"):
        fail(asked)
    if asked == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    listener = socket.create_server(("127.0.0.1", int(sys.argv[-1].split(":")[0])))
    held = []
    while True:
        client, _ = listener.accept()
        if mode() == "lost":
            fail("lost")
        if mode() == "dying":
            (HOME / "mode").write_text("pending")
            fail("lost")
        if mode() in ("hang", "stubborn"):
            held.append(client)
            continue
        threading.Thread(target=forward, args=(client,), daemon=True).start()


if __name__ == "__main__":
    main()
