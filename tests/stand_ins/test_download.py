"""A download is whole with the right SHA-256 or refused, and continues where it broke off."""

import fcntl
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.cli.download import Timeouts, download
from fixtures.errors import InfraError
from tests.stand_ins.file_server import Files, serving

CONTENT = bytes(range(256)) * 4000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
QUICK = Timeouts(connect=2, read=2, pause=0, tries=3)


@pytest.fixture
def files() -> Iterator[Files]:
    with serving() as files:
        files.files["tool"] = CONTENT
        yield files


@pytest.fixture
def part(tmp_path: Path) -> Path:
    return tmp_path / ".tool.part"


def fetch(files: Files, part: Path, path: str = "tool", sha256: str = SHA256) -> list[str]:
    lines: list[str] = []
    download(f"{files.address}/{path}", part, sha256, lines.append, timeouts=QUICK)
    return lines


@pytest.mark.parametrize(
    ("left", "ranges", "wanted"),
    [
        pytest.param(b"", True, "", id="nothing there"),
        pytest.param(CONTENT[:1000], True, "bytes=1000-", id="continues"),
        pytest.param(CONTENT[:1000], False, "bytes=1000-", id="a server without ranges"),
        pytest.param(CONTENT, True, f"bytes={len(CONTENT)}-", id="whole already"),
    ],
)
def test_one_request_brings_what_is_missing(files: Files, part: Path, left: bytes, ranges: bool, wanted: str) -> None:
    files.ranges = ranges
    part.write_bytes(left)

    fetch(files, part)

    assert part.read_bytes() == CONTENT
    assert files.asked == [("tool", wanted)]


def test_a_connection_that_breaks_is_gone_on_from_at_once(files: Files, part: Path) -> None:
    files.cut = [5000, 7000, None]

    lines = fetch(files, part)

    assert part.read_bytes() == CONTENT
    assert [wanted for _, wanted in files.asked] == ["", "bytes=5000-", "bytes=12000-"]
    assert lines[0].startswith("the server broke off after 5,000 bytes")


@pytest.mark.parametrize("left", [b"another file", b"x" * (len(CONTENT) + 1)])
def test_a_beginning_of_another_file_is_thrown_away(files: Files, part: Path, left: bytes) -> None:
    part.write_bytes(left)

    lines = fetch(files, part)

    assert part.read_bytes() == CONTENT
    assert lines == ["what was there of .tool.part belongs to another file: fetching it anew"]


def test_a_server_that_breaks_off_again_and_again_is_given_up_and_what_came_is_kept(files: Files, part: Path) -> None:
    files.cut = [3000, 0, 0, 0, 0]

    with pytest.raises(InfraError, match=r"/tool broke off after 3,000 bytes: .* it continues from there") as failure:
        fetch(files, part)

    assert part.read_bytes() == CONTENT[:3000]
    assert len(files.asked) == 4, failure.value
    fetch(files, part)
    assert part.read_bytes() == CONTENT


@pytest.mark.parametrize("content", [b"something else", CONTENT[:-1]], ids=["wrong", "truncated"])
def test_a_wrong_file_is_refused_and_removed(files: Files, part: Path, content: bytes) -> None:
    files.files["tool"] = content

    with pytest.raises(InfraError, match=f"has SHA-256 [0-9a-f]{{64}}, expected {SHA256}: nothing was installed"):
        fetch(files, part)

    assert not part.exists()


def test_a_missing_file_is_said_at_once(files: Files, part: Path) -> None:
    with pytest.raises(InfraError, match=r"/nothing: HTTP 404\. Check the address"):
        fetch(files, part, "nothing")

    assert len(files.asked) == 1


def test_a_busy_server_is_asked_again(files: Files, part: Path) -> None:
    files.codes = [503, 429]

    assert fetch(files, part) == [
        "the server broke off after 0 bytes (HTTP 503); going on",
        "the server broke off after 0 bytes (HTTP 429); going on",
    ]
    assert part.read_bytes() == CONTENT


def test_bytes_from_the_wrong_place_are_not_taken(files: Files, part: Path) -> None:
    files.shift = 3
    part.write_bytes(CONTENT[:1000])

    with pytest.raises(InfraError, match="sent bytes from 1,003 on instead of 1,000"):
        fetch(files, part)

    assert part.read_bytes() == CONTENT[:1000]


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("tool.part", r"broke off after 0 bytes: .*Connection refused"),
        ("nowhere/tool.part", r"nowhere/tool\.part cannot be written: .*No such file"),
    ],
    ids=["nobody listens", "no folder"],
)
def test_the_cause_of_a_failure_is_named(tmp_path: Path, part: str, message: str) -> None:
    with pytest.raises(InfraError, match=message):
        download("http://127.0.0.1:9/tool", tmp_path / part, SHA256, print, timeouts=QUICK)


def test_two_processes_do_not_write_the_same_file(files: Files, part: Path) -> None:
    with part.open("wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)

        with pytest.raises(InfraError, match=r"Another process is downloading .tool.part\. Wait until it has finished"):
            fetch(files, part)
