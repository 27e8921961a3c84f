"""The documentation says what is true: its commands, options, verdicts, numbers, links and layout exist."""

import re
import shlex
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

import fixtures.report.__main__
from benchmarks import bench
from docs.generate import generated
from fixtures.analysis import equivalence
from fixtures.analysis.plan import LOOK_LEVEL, looks
from fixtures.analysis.verdict import Outcome, exit_code
from fixtures.cli.main import VERBS, make_parser
from fixtures.history import __main__ as gate_commands
from fixtures.settings.settings import ALL_OPTIONS, Settings, build
from fixtures.system import noise
from trainer import data

ROOT = Path(__file__).parents[2]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/*.md"),
        *ROOT.glob("image/**/*.md"),
        *ROOT.glob("manifests/*.md"),
        *ROOT.glob("tests/data/*.md"),
    ]
)

TARGETS = set(re.findall(r"^([a-z0-9-]+):", MAKEFILE, re.MULTILINE))
VARIABLES = dict(re.findall(r"^([A-Z]+) \??:?= ?(.*)$", MAKEFILE, re.MULTILINE))
PYTEST = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["pytest"]["ini_options"]
MARKERS = {marker.partition(":")[0] for marker in PYTEST["markers"]}
ENVIRONMENT = {option.env for option in ALL_OPTIONS if option.env}
ASSIGNMENT = re.compile(r"([A-Z_]+)=(.*)")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")


def commands(text: str) -> list[str]:
    """Every command of the fenced sh blocks, and every make, pytest or python command in the running text."""
    fenced = [line for kind, body in FENCE.findall(text) if kind == "sh" for line in body.splitlines()]
    inline = re.findall(r"`((?:[A-Z_]+=\S+ )*(?:make|pytest|python -m) [^`]+)`", FENCE.sub("", text))
    return [line for line in (*fenced, *inline) if shlex.split(line, comments=True)]


def check(command: str, reports: Path) -> Settings | None:
    """Fail for a command that the Makefile or pytest would refuse; the settings of one that measures."""
    words = shlex.split(command, comments=True)
    environ: dict[str, str] = {}
    while found := ASSIGNMENT.fullmatch(words[0]):
        environ[found[1]] = found[2]
        words = words[1:]
    assert set(environ) <= ENVIRONMENT, f"{command}: no option is set by {set(environ) - ENVIRONMENT}"
    if words[0] == "make":
        return check_make(command, words[1:], reports)
    if words[0] == ".":
        assert words[1:] == [f"{VARIABLES['VENV']}/bin/activate"], command
        return None
    if words[:3] == ["python", "-m", "fixtures"]:
        return check_verb(command, words[3:], environ, reports)
    if words[:2] == ["python", "-m"]:
        check_module(command, words[2], words[3:])
        return None
    assert words[0] == "pytest", f"{command}: neither make nor pytest"
    return check_pytest(command, words[1:], environ, reports)


def check_make(command: str, words: list[str], reports: Path) -> Settings | None:
    settings = None
    for word in words:
        variable = ASSIGNMENT.fullmatch(word)
        if variable is None:
            assert word in TARGETS, f"{command}: the Makefile has no target {word}"
        else:
            assert variable[1] in VARIABLES, f"{command}: the Makefile has no variable {variable[1]}"
            if variable[1] == "ARGS" and "bench" in words:
                bench.parse(shlex.split(variable[2]))
            elif variable[1] == "ARGS":
                settings = check_pytest(command, shlex.split(variable[2]), {}, reports)
    assert any(word in TARGETS for word in words), f"{command}: names no target"
    return settings


PARSERS: dict[str, Callable[[list[str]], object]] = {
    "fixtures.report": fixtures.report.__main__.parse,
    "fixtures.history": gate_commands.parse,
}


def check_module(command: str, module: str, arguments: list[str]) -> None:
    found = ROOT / module.replace(".", "/")
    runs = [file for file in (found.with_suffix(".py"), found / "__main__.py") if file.is_file()]
    assert runs, f"{command}: no module {module}"
    assert "__main__" in runs[0].read_text(encoding="utf-8"), f"{command}: {module} is no command"
    if module in PARSERS and arguments:
        try:
            PARSERS[module](arguments)
        except SystemExit:
            pytest.fail(f"{command}: {module} refuses it")


def check_verb(command: str, words: list[str], environ: dict[str, str], reports: Path) -> Settings | None:
    try:
        given = make_parser().parse_args([each for each in words if each != "--help"])
    except SystemExit:
        raise AssertionError(f"{command}: python -m fixtures takes no such words") from None
    if not VERBS[given.verb].cluster:
        return None
    values = {option.dest: getattr(given, option.dest) for option in ALL_OPTIONS}
    return build({**values, "reports": str(reports)}, environ)


def check_pytest(command: str, words: list[str], environ: dict[str, str], reports: Path) -> Settings | None:
    options = {option.flag: option for option in ALL_OPTIONS}
    twins = {option.twin: option for option in ALL_OPTIONS if option.kind.negatable}
    values: dict[str, object] = {"reports": str(reports)}
    rest = iter(words)
    for word in rest:
        if word == "-m":
            marker = next(rest)
            assert marker.removeprefix("not ") in MARKERS, f"{command}: no marker {marker}"
        elif word == "-k":
            next(rest)  # which tests: the guide's are looked up in test_guide.py
        elif word not in ("--help", "-v") and not word.startswith(("--kills=", "--kills-seed=")):
            flag, equals, value = word.partition("=")
            if flag in twins:
                values[twins[flag].dest] = False
                continue
            assert flag in options, f"{command}: pytest has no option {flag}"
            assert options[flag].is_flag is not bool(equals), (
                f"{command}: {flag} takes {'no' if options[flag].is_flag else 'a'} value"
            )
            values[options[flag].dest] = value or True
    return build(values, environ)


def table(text: str) -> list[list[str]]:
    """The cells of a text's only table, without its header."""
    rows = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:]]


def section(page: str, heading: str) -> str:
    found = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", read(page), re.MULTILINE | re.DOTALL)
    assert found is not None, f"{page} has no section {heading!r}"
    return found[1]


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_command_is_one_that_make_or_pytest_accepts(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for file in ("my_net.py", "my_data.npz", "docs/sweep.toml"):
        Path(file).parent.mkdir(exist_ok=True)
        Path(file).touch()
    for command in commands(page.read_text(encoding="utf-8")):
        check(command, tmp_path)


def test_the_readme_has_the_two_commands_and_they_are_found() -> None:
    found = [shlex.split(command, comments=True) for command in commands(read("README.md"))]

    assert ["make", "e2e"] in found
    assert ["make", "test"] in found
    assert ["pytest", "-m", "e2e", "--workers=2,4"] in found


def test_every_verb_but_none_other_is_a_target_of_the_makefile() -> None:
    (shared,) = re.findall(r"^([a-z ]+):\n\t\$\(BIN\)/python -m fixtures \$@ ", MAKEFILE, re.MULTILINE)

    assert {*shared.split(), "gc", "prerequisites"} == set(VERBS) - {"completion", "workload"} <= TARGETS


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("make everything", "no target everything"),
        ("make CLUSTER=local", "names no target"),
        ("make e2e SPEED=11", "no variable SPEED"),
        ("make e2e ARGS='--worker=2'", "no option --worker"),
        ("pytest -m e2e --worker=2", "no option --worker"),
        ("pytest -m e2e --workers", "takes a value"),
        ("pytest -m e2e --quick=yes", "takes no value"),
        ("pytest -m slow", "no marker slow"),
        ("EPOCH=15 pytest -m e2e", "no option is set by"),
        ("pip install ray", "neither make nor pytest"),
        ("python -m fixtures.reports reports", "no module fixtures.reports"),
        ("python -m fixtures.analysis.work", "is no command"),
        ("python -m fixtures.report compare OLD", "fixtures.report refuses it"),
        ("python -m fixtures.history accept", "fixtures.history refuses it"),
        ("python -m fixtures fly", "no such words"),
        ("python -m fixtures up --worker=2", "no such words"),
    ],
)
def test_a_command_that_would_fail_is_found(command: str, why: str, tmp_path: Path) -> None:
    with pytest.raises((AssertionError, pytest.fail.Exception), match=why):
        check(command, tmp_path)


def test_a_command_sets_what_it_says(tmp_path: Path) -> None:
    settings = check("EPOCHS=15 BATCH_SIZE=256 pytest -m e2e --workers=2,4  # both", tmp_path)

    assert settings is not None
    assert (settings.epochs, settings.batch_size, settings.workers) == (15, 256, (2, 4))


def test_every_option_is_in_a_table_of_the_docs_with_its_default() -> None:
    lines = [line for page in PAGES for line in page.read_text(encoding="utf-8").splitlines()]
    rows = [[cell.strip().strip("`") for cell in line.split("|")[1:-1]] for line in lines if line.startswith("| `--")]
    defaults = {row[0]: row[1] for row in rows}

    assert {
        f"{o.flag}={o.kind.metavar}" if o.kind.metavar else o.flag: o.default for o in ALL_OPTIONS
    }.items() <= defaults.items()


def test_the_table_of_verdicts_has_every_outcome_and_its_exit_codes() -> None:
    rows = {row[0]: row[-1] for row in table(section("README.md", "Verdicts"))}

    assert rows.keys() == {outcome.value for outcome in Outcome}
    for outcome in Outcome:
        codes = {exit_code(outcome, strict=strict) for strict in (False, True)}
        assert {int(each) for each in re.findall(r"\d+", rows[outcome.value])} == codes


def test_the_numbers_of_the_measurement_are_those_of_the_code() -> None:
    text = read("docs/METHOD.md")
    tolerance = {float(each) for each in re.findall(r"\b1e-\d+", text)}

    assert {equivalence.PROBE_TOLERANCE, equivalence.TRACE_TOLERANCE, equivalence.START_TOLERANCE} <= tolerance
    assert f"first {equivalence.TRACE_UPDATES} updates" in text
    first, growth = equivalence.START_UPDATES, equivalence.GROWTH
    assert f"in the first {first}; then 1e-3, or {growth} times the largest before" in text
    assert "after {}, {} and {} rounds".format(*looks(12)) in text
    assert f"{LOOK_LEVEL:.1%}".replace("%", " %") in text
    assert f"{noise.STEAL:.0%}".replace("%", " % of the CPU time") in text
    assert f"{noise.THROTTLED:.0%}".replace("%", " % of its periods") in text
    assert f"{noise.FOREIGN_CORES} cores" in text
    assert f"{noise.PRESSURE:.0%}".replace("%", " % of the time") in text


@pytest.mark.parametrize(("page", "limit"), [("README.md", 12_000), ("docs/ARCHITECTURE.md", 15_000)])
def test_the_pages_that_are_read_first_are_short(page: str, limit: int) -> None:
    assert len(read(page).encode()) <= limit


def test_the_data_page_names_the_hash_that_is_checked() -> None:
    assert data.SHA256 in (ROOT / "image/data/README.md").read_text(encoding="utf-8")


def test_every_path_of_the_layout_exists() -> None:
    layouts = [body for page in PAGES for kind, body in FENCE.findall(page.read_text("utf-8")) if kind == "text"]
    paths = [line.split()[0] for body in layouts for line in body.splitlines() if "  " in line and "->" not in line]

    assert "image/trainer/" in paths
    assert [path for path in paths if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_the_generated_parts_of_a_page_are_as_docs_generate_writes_them(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert text == generated(text), "make docs"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_local_link_leads_somewhere(page: Path) -> None:
    for target in LINK.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{name(page)}: {target}"
        assert not anchor or anchor in anchors(file), f"{name(page)}: {target}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_no_page_names_a_path_of_somebodys_machine(page: Path) -> None:
    text = re.sub(r"/opt/ray-train-e2e|/home/ray", "", page.read_text(encoding="utf-8"))  # the image's own

    assert re.findall(r"(?<![\w./:~-])/(?:home|root|Users|work|mnt|opt|srv|var|tmp/)\S*", text) == []
