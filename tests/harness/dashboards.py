"""Rules for dashboards, after those of Grafana's dashboard linter: what makes one work in another's Grafana."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

from harness.process import ROOT

FOLDER = ROOT / "dashboards"
COLUMNS = 24
LONGEST_UID = 40
VARIABLES = {"job", "namespace", "instance"}
RATES = ("rate(", "increase(", "irate(", "delta(")

Json = dict[str, Any]


def load() -> dict[str, Json]:
    """Each dashboard by its file's name."""
    return {path.name: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}


def panels(board: Json) -> list[Json]:
    """Without the headings of rows."""
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def expressions(board: Json) -> Iterator[tuple[str, str]]:
    """Each panel's title with each of its expressions."""
    for panel in panels(board):
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


def faults(board: Json) -> list[str]:
    """What is wrong with a dashboard."""
    return [
        *_of_the_whole(board),
        *_of_variables(board),
        *itertools.chain(*map(_of_a_panel, panels(board))),
        *_of_places(board),
    ]


def _of_the_whole(board: Json) -> Iterator[str]:
    if board["id"] is not None or not board["uid"] or len(board["uid"]) > LONGEST_UID:
        yield "it needs a uid of its own, and no id"
    if board["editable"]:
        yield "it can be edited, and changes would be lost at the next load"
    if "siding" not in board["tags"]:
        yield "the links between dashboards do not find it"
    if "__inputs" in board:
        yield "__inputs do not resolve where it is provisioned"
    identities = [panel["id"] for panel in board["panels"]]
    if len(set(identities)) != len(identities):
        yield "two panels have the same id"


def _of_variables(board: Json) -> Iterator[str]:
    variables = {variable["name"]: variable for variable in board["templating"]["list"]}
    source = variables.pop("datasource", None)
    if source is None or source["type"] != "datasource" or source["query"] != "prometheus":
        yield "the data source is no variable"
    if set(variables) != VARIABLES:
        yield f"the variables are {sorted(variables)}, not {sorted(VARIABLES)}"
    for name, variable in variables.items():
        if variable["datasource"]["uid"] != "${datasource}":
            yield f"${name} asks another data source"
        if variable["refresh"] != 2:
            yield f"${name} is not renewed with the time range"
        if not variable["allValue"]:
            yield f"${name} has no value for all"


def _of_a_panel(panel: Json) -> Iterator[str]:
    title = panel["title"]
    if not title or not panel["description"]:
        yield f"{title!r} needs a title and a description"
    if panel["datasource"]["uid"] != "${datasource}":
        yield f"{title} asks another data source"
    if not panel["fieldConfig"]["defaults"]["unit"]:
        yield f"{title} has no unit"
    references = [target["refId"] for target in panel["targets"]]
    if len(set(references)) != len(references) or not references:
        yield f"{title} has no targets, or two with the same name"
    for target in panel["targets"]:
        yield from (f"{title}: {fault}" for fault in _of_a_target(target, panel["type"]))


def _of_a_target(target: Json, kind: str) -> Iterator[str]:
    expression = target["expr"]
    if target["datasource"]["uid"] != "${datasource}":
        yield "it asks another data source"
    for name in sorted(VARIABLES):
        if expression.count(f'{name}=~"${name}"') != expression.count("{"):
            yield f"a selector lacks ${name}"
    if any(call in expression for call in RATES) and not any(
        span in expression for span in ("[$__rate_interval]", "[1h]", "[$__range]")
    ):
        yield "a rate over a fixed time misses scrapes where they are rarer"
    if kind == "timeseries" and not target["legendFormat"]:
        yield "it has no legend"


def _of_places(board: Json) -> Iterator[str]:
    taken: dict[tuple[int, int], str] = {}
    for panel in board["panels"]:
        place = panel["gridPos"]
        if place["x"] + place["w"] > COLUMNS:
            yield f"{panel['title']} is beyond the right edge"
        cells = itertools.product(
            range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"])
        )
        for cell in cells:
            if cell in taken:
                yield f"{panel['title']} covers {taken[cell]}"
                break
            taken[cell] = panel["title"]
