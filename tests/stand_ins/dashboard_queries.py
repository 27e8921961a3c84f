"""What the panels and annotations of Grafana's dashboards ask."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Query:
    """One question of a dashboard's panel or annotation: PromQL with Grafana's variables in it."""

    dashboard: str
    panel: str
    expression: str


def queries(file: str, content: str) -> Iterator[Query]:
    """Yield every question of a dashboard's panels and annotations."""
    dashboard = json.loads(content)
    for panel in _panels(dashboard["panels"]):
        for target in panel.get("targets", ()):
            yield Query(file, str(panel.get("title")), str(target["expr"]))
    for annotation in dashboard.get("annotations", {}).get("list", ()):
        if "expr" in annotation:
            yield Query(file, str(annotation["name"]), str(annotation["expr"]))


def _panels(panels: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for panel in panels:
        yield panel
        yield from _panels(panel.get("panels", []))


_VARIABLE = re.compile(r"\[\[(?P<a>\w+)\]\]|\$\{(?P<b>\w+)(?::\w+)?\}|\$(?P<c>\w+)")


def filled(expression: str, values: Mapping[str, str]) -> str:
    """Return an expression as Grafana would send it. Raises KeyError for a variable that has no value."""
    return _VARIABLE.sub(lambda match: values[match["a"] or match["b"] or match["c"]], expression)
