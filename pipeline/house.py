"""The house in one picture and one table, both from the library itself.

The picture has a box for each room of `ncutils` and an arrow for each import, from the room
that asks to the room that answers. It is drawn when the book is put together, so it cannot
fall behind the code.
"""

import ast
from html import escape
from pathlib import Path

import ncutils

#: Beside the rooms of the map: what a user never imports.
CELLARS = {"_fast": "ways around a compiler's slow spots", "_files": "files whole or not at all"}
WIDTH, ROW, BOX, HEIGHT = 860, 92, 104, 36
#: Readable on light and on dark paper.
FILL, LINE, TEXT = "#2f6f9f", "#7d8a97", "#ffffff"


def rooms() -> dict[str, str]:
    """Every room with what it holds."""
    return {**ncutils.ROOMS, **CELLARS}


def imports(library: Path | None = None) -> dict[str, set[str]]:
    """Which other rooms each room imports.

    Args:
        library: another folder than that of `ncutils`.
    """
    folder = library or Path(str(ncutils.__file__)).parent
    found: dict[str, set[str]] = {name: set() for name in rooms()}
    for path in sorted(folder.rglob("*.py")):
        room = path.relative_to(folder).parts[0].removesuffix(".py")
        if room not in found:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            else:
                continue
            parts = [name.split(".") for name in names if name.startswith("ncutils.")]
            found[room] |= {part[1] for part in parts if part[1] in found} - {room}
    return found


def floors(edges: dict[str, set[str]]) -> dict[str, int]:
    """The floor of each room: one above the highest room that it imports.

    Raises:
        ValueError: if rooms import each other in a circle.
    """
    floor: dict[str, int] = {}

    def height(room: str, above: tuple[str, ...]) -> int:
        if room in above:
            raise ValueError(f"rooms import each other in a circle: {', '.join(above)}, {room}")
        if room not in floor:
            below = [height(other, (*above, room)) for other in sorted(edges[room])]
            floor[room] = 1 + max(below, default=-1)
        return floor[room]

    for room in sorted(edges):
        height(room, ())
    return floor


def direct(edges: dict[str, set[str]]) -> set[tuple[str, str]]:
    """The imports without those that follow from others: A → B → C makes A → C superfluous."""

    def reached(room: str) -> set[str]:
        return edges[room] | {far for near in edges[room] for far in reached(near)}

    return {
        (room, other)
        for room, others in edges.items()
        for other in others
        if not any(other in reached(near) for near in others - {other})
    }


def places(floor: dict[str, int]) -> dict[str, tuple[float, float]]:
    """The middle of each box: floors from the top, rooms of a floor side by side."""
    top = max(floor.values())
    found = {}
    for level in range(top + 1):
        row = [room for room in rooms() if floor[room] == level]
        for place, room in enumerate(row):
            found[room] = ((place + 0.5) * WIDTH / len(row), (top - level + 0.5) * ROW)
    return found


def picture(edges: dict[str, set[str]]) -> str:
    """The house as SVG."""
    floor = floors(edges)
    place = places(floor)
    tall = (max(floor.values()) + 1) * ROW
    lines, boxes = [], []
    for room, other in sorted(direct(edges)):
        (x, y), (u, v) = place[room], place[other]
        y, v = y + HEIGHT / 2, v - HEIGHT / 2 - 4
        lines.append(
            f'<path data-from="{room}" data-to="{other}" marker-end="url(#tip)" '
            f'd="M{x:.0f} {y:.0f}C{x:.0f} {y + 26:.0f} {u:.0f} {v - 26:.0f} {u:.0f} {v:.0f}"/>'
        )
    for room, holds in rooms().items():
        x, y = place[room]
        boxes.append(
            f'<g data-room="{room}"><title>{escape(holds)}</title>'
            f'<rect x="{x - BOX / 2:.0f}" y="{y - HEIGHT / 2:.0f}" width="{BOX}" '
            f'height="{HEIGHT}" rx="6"/><text x="{x:.0f}" y="{y + 4:.0f}">{room}</text></g>'
        )
    style = (
        f"path{{fill:none;stroke:{LINE};stroke-width:1.3}}rect{{fill:{FILL}}}"
        f"text{{fill:{TEXT};font:13px sans-serif;text-anchor:middle}}#tip path{{fill:{LINE}}}"
    )
    tip = (
        '<marker id="tip" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto"><path d="M0 0L8 4L0 8z"/></marker>'
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {tall}" '
        f'width="{WIDTH}" height="{tall}"><style>{style}</style><defs>{tip}</defs>'
        + "".join([*lines, *boxes])
        + "</svg>\n"
    )


def table() -> str:
    """What each room holds, as a table in Markdown."""
    rows = [f"| `{room}` | {holds} |" for room, holds in rooms().items()]
    return "\n".join(["| Room | What it holds |", "|---|---|", *rows, ""])


def write(folder: Path) -> None:
    """Write `house.svg` and `rooms.txt` into the staged prose, where a page shows them."""
    (folder / "house.svg").write_text(picture(imports()), encoding="utf-8")
    (folder / "rooms.txt").write_text(table(), encoding="utf-8")
