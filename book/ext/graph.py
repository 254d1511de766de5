"""How claims rest on each other: ``{claim-graph}`` draws it for each paper, and tells it in words.

A claim stands to the right of everything it rests on. The picture is SVG in the page,
made when the book is: its colours are those of the style sheet, so that it follows the
light and the dark page, and each claim is a link to its row of the ledger.
``{claim-legend}`` shows the marks of the verdicts.
"""

from collections import defaultdict
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from .ledger import MACROS, Ledger, LedgerReader
from .typeset import environment, reference, typeset

#: The icons of the verdicts on a square of 16, as in nc.css; points are lines of no length.
ICONS = {
    "nc-holds": "M3 8.6l3.3 3.3L13 4.6",
    "nc-deviates": "M2 6.4c2-2.6 4-2.6 6-.6s4 2 6-.6M2 11.4c2-2.6 4-2.6 6-.6s4 2 6-.6",
    "nc-fails": "M4 4l8 8M12 4l-8 8",
    "nc-undecided": "M3 8h.01M8 8h.01M13 8h.01",
    "nc-absent": "M3 8h10",
}

HEIGHT, GAP, STEP, MARGIN = 24, 24, 30, 6
#: Width of a frame without its words, and of a letter.
FRAME, LETTER = 29, 7.4
#: At most so many claims are drawn; a paper with more needs another picture.
LARGEST = 80

Edge = tuple[str, str]  # a claim and one that rests on it


def edges_of(rows: dict[str, dict], paper: str | None = None) -> list[Edge]:
    """Every pair of a claim and one that rests on it, of one paper or of all.

    Raises:
        ValueError: on a dependency without a row, or on claims that rest on each other
            in a circle.
    """
    found = [(other, row["id"]) for row in rows.values() for other in row.get("depends") or []]
    if strange := [pair for pair in found if pair[0] not in rows]:
        raise ValueError(f"claim {strange[0][1]} rests on unknown {strange[0][0]}")
    before = defaultdict(set)
    for first, then in found:
        before[then].add(first)
    try:
        TopologicalSorter(before).prepare()
    except CycleError as error:
        circle = " rests on ".join(reversed(error.args[1]))
        raise ValueError(f"claims rest on each other in a circle: {circle}") from None
    return [pair for pair in found if paper in (None, rows[pair[1]]["paper"])]


def families(edges: list[Edge]) -> list[list[Edge]]:
    """Edges by connected part, the largest first."""
    home: dict[str, set[str]] = {}
    for pair in edges:
        merged = set().union(*(home.get(claim, {claim}) for claim in pair))
        home |= dict.fromkeys(merged, merged)
    parts = defaultdict(list)
    for pair in edges:
        parts[id(home[pair[0]])].append(pair)
    return sorted(parts.values(), key=len, reverse=True)


def layers(edges: list[Edge]) -> dict[str, int]:
    """How many steps each claim is from the ground; a claim no earlier than it must be.

    A claim on which others rest, and which rests on none, moves up to just before the first
    of them.
    """
    before, after = defaultdict(set), defaultdict(set)
    for first, then in edges:
        before[then].add(first)
        after[first].add(then)
    level: dict[str, int] = {}
    for claim in TopologicalSorter(before).static_order():
        level[claim] = 1 + max((level[other] for other in before[claim]), default=-1)
    for claim in level:
        if not before[claim]:
            level[claim] = min(level[other] for other in after[claim]) - 1
    return level


def placed(edges: list[Edge]) -> tuple[dict[str, tuple[int, float]], list[list]]:
    """The layer and height of each claim of one family, and the course of each edge.

    An edge over several layers passes through a place of its own in each of them. The
    order within a layer is by the mean of the neighbours, to and fro a few times.
    """
    level = layers(edges)
    columns: list[list] = [[] for _ in range(1 + max(level.values()))]
    for claim, place in level.items():
        columns[place].append(claim)
    courses, near = [], defaultdict(list)
    for first, then in edges:
        course: list = [first]
        for place in range(level[first] + 1, level[then]):
            columns[place].append((first, then, place))
            course.append((first, then, place))
        course.append(then)
        courses.append(course)
        for one, other in pairwise(course):
            near[one].append(other)
            near[other].append(one)
    height = {one: float(k) for column in columns for k, one in enumerate(column)}
    for sweep in range(12):
        for column in columns if sweep % 2 == 0 else reversed(columns):
            settle(column, near, height)
    top = min(height.values())
    flat = {one: (place, height[one] - top) for place, col in enumerate(columns) for one in col}
    return {claim: flat[claim] for claim in level}, [[flat[one] for one in c] for c in courses]


def settle(column: list, near: dict, height: dict) -> None:
    """Order one layer by the mean height of its neighbours, each at least a step apart."""
    wish = {one: sum(height[other] for other in near[one]) / len(near[one]) for one in column}
    column.sort(key=lambda one: (wish[one], str(one)))
    for k, one in enumerate(column):
        height[one] = wish[one] if k == 0 else max(wish[one], height[column[k - 1]] + 1)
    # What was pushed down comes back half-way: the column keeps the mean of its wishes.
    drift = sum(height[one] - wish[one] for one in column) / len(column)
    for one in column:
        height[one] -= drift


def course_path(points: list[tuple[float, float, float]]) -> str:
    """A curve from the right side of one claim to the left side of another.

    Each point is the left and the right side of a layer, and the height of the curve there.
    """
    _, at, y = points[0]
    path = f"M{at:.0f} {y:.0f}"
    for k, (left, right, height) in enumerate(points[1:], 1):
        bend = (at + left) / 2
        path += f"C{bend:.0f} {y:.0f} {bend:.0f} {height:.0f} {left:.0f} {height:.0f}"
        at, y = right, height
        if k < len(points) - 1:
            path += f"H{at:.0f}"
    return path


def sides(places: dict[str, tuple[int, float]], tag: str) -> list[tuple[float, float]]:
    """The left and the right side of each layer of a family, as wide as its longest label."""
    found, left = [], float(MARGIN)
    for layer in range(1 + max(place for place, _ in places.values())):
        claims = [claim for claim, (place, _) in places.items() if place == layer]
        right = left + FRAME + LETTER * max(len(one.removeprefix(f"{tag}-")) for one in claims)
        found.append((left, right))
        left = right + GAP
    return found


def drawn(edges: list[Edge], tag: str) -> dict:
    """The lines and boxes of one paper's picture, families below each other, and its size."""
    lines, boxes, top, widest = [], {}, MARGIN + HEIGHT / 2, 0.0
    for family in families(edges):
        places, courses = placed(family)
        columns = sides(places, tag)
        widest = max(widest, columns[-1][1])
        for (first, _), course in zip(family, courses, strict=True):
            points = [(*columns[place], top + height * STEP) for place, height in course]
            lines.append((first, course_path(points)))
        for claim, (place, height) in places.items():
            left, right = columns[place]
            boxes[claim] = (left, top + height * STEP - HEIGHT / 2, right - left)
        top += (max(height for course in courses for _, height in course) + 1.2) * STEP
    high = top - 1.2 * STEP + HEIGHT / 2 + MARGIN
    return {"lines": lines, "boxes": boxes, "wide": widest + MARGIN, "high": high}


class GraphDirective(SphinxDirective, LedgerReader):
    """``{claim-graph}`` or ``{claim-graph} KEY``: pictures, each with the same in words."""

    optional_arguments = 1

    def run(self):
        made, rows = [], self.ledger().rows
        for paper in self.papers():
            edges, tag = self.edges(paper), self.ledger().papers[paper]["tag"]
            lines = {claim: [one for one, then in edges if then == claim] for claim in rows}
            lines = {claim: others for claim, others in lines.items() if others}
            if lines:
                made.append(reference("graph", paper, nodes.Text(tag)))
                made += typeset("claim_list", tag=tag, rows=rows, lines=lines)
        return made

    def edges(self, paper: str) -> list[Edge]:
        """The edges of a paper, or none and a warning."""
        problem, found = None, []
        try:
            found = edges_of(self.ledger().rows, paper)
        except ValueError as error:
            problem = str(error)
        count = len({claim for pair in found for claim in pair})
        if self.arguments and not problem and not found:
            problem = f"no claim of {paper!r} rests on another"
        if count > LARGEST:
            problem = f"{count} claims of {paper} are too many for one picture of {LARGEST}"
        if problem:
            self.warn("%s", problem)
        return found


class LegendDirective(SphinxDirective):
    """``{claim-legend}``: the marks of the verdicts."""

    def run(self):
        marks = "{% for name in verdicts %}{{ nc.verdict(name) }} {% endfor %}"
        return typeset(f'{MACROS}<p class="nc-legend">{marks}</p>')


def picture(ledger: Ledger, paper: str, addresses: dict[str, str]) -> nodes.Node:
    """The picture of a paper in a box that scrolls, now that all rows have an address."""
    about, edges = ledger.papers[paper], edges_of(ledger.rows, paper)
    template = environment.get_template("graph.svg")
    links = {"rows": ledger.rows, "addresses": addresses, "icons": ICONS}
    text = template.render(tag=about["tag"], **links, **drawn(edges, about["tag"]))
    (figure,) = typeset("graph", paper=about)
    figure[-1] += nodes.raw("", text, format="html")
    return figure
