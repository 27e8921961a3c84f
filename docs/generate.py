"""Make the generated parts of the documentation: `python docs/generate.py` rewrites them, `make docs` is short for it.

A generated part stands between two comments that name it. A test checks that each is as this would write it.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "image")]  # run as a file, Python looks in docs/ alone

from fixtures.settings.batches import BATCH_OPTIONS  # noqa: E402
from fixtures.settings.kubernetes import KUBERNETES_CLUSTERS, KUBERNETES_OPTIONS  # noqa: E402
from fixtures.settings.option import Option  # noqa: E402
from fixtures.settings.recovery import RECOVERY_OPTIONS  # noqa: E402
from fixtures.settings.settings import ALL_OPTIONS, OPTIONS  # noqa: E402
from fixtures.settings.sweep import SWEEP_OPTIONS  # noqa: E402
from tests.faults.embedded import EMBEDDED  # noqa: E402
from tests.faults.on_kubernetes import ON_KUBERNETES  # noqa: E402
from tests.faults.record import read_rows  # noqa: E402
from tests.faults.tables import tabulate_faults, tabulate_kills  # noqa: E402
from trainer.workloads.facts import BUILT_IN  # noqa: E402

DOCS = ROOT / "docs"
_PART = re.compile(r"(<!-- generated: (?P<name>[\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def main() -> None:
    """Rewrite every page that has a generated part."""
    for page in pages():
        text = page.read_text(encoding="utf-8")
        if (made := generated(text)) != text:
            page.write_text(made, encoding="utf-8")
            print(f"rewritten: {page.relative_to(ROOT)}")


def pages() -> list[Path]:
    """Return the pages that may have generated parts."""
    return [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]


def generated(text: str) -> str:
    """Return a page with its generated parts as they should be."""
    return _PART.sub(lambda part: f"{part[1]}{PARTS[part['name']]()}{part[3]}", text)


def modules() -> str:
    """Return one table for each package: its modules, and the first line of each docstring."""
    return "\n".join(_package(folder) for folder in _packages(ROOT / "fixtures", ROOT / "image/trainer"))


def packages() -> str:
    """Return one row for each package, with the first line of its docstring."""
    rows = [
        f"| `{folder.relative_to(ROOT)}/` | {_summary(folder / '__init__.py')} |"
        for folder in _packages(ROOT / "fixtures", ROOT / "image/trainer")
    ]
    return "\n".join(["| package | what it is for |", "|---|---|", *rows, ""])


def _packages(*roots: Path) -> Iterator[Path]:
    for root in roots:
        yield from sorted(file.parent for file in root.rglob("__init__.py"))


def _package(folder: Path) -> str:
    rows = [
        f"| `{file.stem}` | {_summary(file)} |" for file in sorted(folder.glob("*.py")) if file.name != "__init__.py"
    ]
    title = f"**`{folder.relative_to(ROOT)}/`** {_summary(folder / '__init__.py')}\n"
    return "\n".join([title, *(["| module | what it is for |", "|---|---|", *rows, ""] if rows else [])])


def _summary(file: Path) -> str:
    lines = (ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "").splitlines()
    return lines[0].replace("|", "\\|") if lines else ""


def trainings() -> str:
    """Return one row for each built-in training."""
    rows = [f"| `{name}` | {training.about} | {training.data} |" for name, training in BUILT_IN.items()]
    return "\n".join(["| `--workload` | what it is | data |", "|---|---|---|", *rows, ""])


def options_table(options: Iterable[Option]) -> str:
    """Return a table of options: the flag, its default, what it does, and its other names."""
    rows = [_option_row(option) for option in options]
    return "\n".join(["| option | default | meaning | environment | ini |", "|---|---|---|---|---|", *rows, ""])


def _option_row(option: Option) -> str:
    meaning = option.help
    if option.kind.choices:
        meaning += f": {', '.join(f'`{choice}`' for choice in option.kind.choices)}"
    flag = f"{option.flag}={option.kind.metavar}" if option.kind.metavar else option.flag
    cells = (_code(flag), _code(option.default), meaning.replace("|", "\\|"), _code(option.env), _code(option.dest))
    return f"| {' | '.join(cells)} |".replace("|  |", "| |")


def _code(text: str | None) -> str:
    return f"`{text}`" if text else ""


def faults_on_kubernetes() -> str:
    """Return a table for each kind of cluster on which faults were run; Minikube's always."""
    faults = [case.fault for case in ON_KUBERNETES]
    clusters = [name for name in KUBERNETES_CLUSTERS if name == "minikube" or read_rows(name)]
    return "\n".join(f"On {name}: {tabulate_faults(name, faults)}" for name in clusters)


MONITORING = ("monitoring", "grafana_password", "grafana_port", "prometheus_image", "grafana_image")
PARTS: Mapping[str, Callable[[], str]] = {
    "trainings": trainings,
    "my-net": lambda: f"```python\n{(DOCS / 'my_net.py').read_text(encoding='utf-8')}```\n",
    "modules": modules,
    "packages": packages,
    "options": lambda: options_table(OPTIONS),
    "recovery-options": lambda: options_table(RECOVERY_OPTIONS),
    "sweep-options": lambda: options_table(SWEEP_OPTIONS),
    "batch-options": lambda: options_table(BATCH_OPTIONS),
    "kubernetes-options": lambda: options_table(KUBERNETES_OPTIONS),
    "faults": lambda: tabulate_faults("local", EMBEDDED),
    "faults-on-kubernetes": faults_on_kubernetes,
    "kills": tabulate_kills,
    "monitoring-options": lambda: options_table(option for option in ALL_OPTIONS if option.dest in MONITORING),
}

if __name__ == "__main__":
    main()
