"""The picture of the house shows every room, and no arrow leads up."""

import shutil
from xml.etree import ElementTree

import pytest

import ncutils
from pipeline import house

SVG = "{http://www.w3.org/2000/svg}"


def drawn(text):
    """The rooms of a picture with their heights, and its arrows."""
    root = ElementTree.fromstring(text)
    boxes = root.findall(f"{SVG}g")
    heights = {box.get("data-room"): float(box.find(f"{SVG}rect").get("y")) for box in boxes}
    arrows = [(line.get("data-from"), line.get("data-to")) for line in root.findall(f"{SVG}path")]
    return heights, arrows


def test_every_room_is_in_the_picture_and_in_the_table():
    heights, _ = drawn(house.picture(house.imports()))
    assert set(heights) == {*ncutils.ROOMS, "_fast", "_files"}
    assert all(f"| `{room}` |" in house.table() for room in heights)


def test_no_arrow_leads_up():
    heights, arrows = drawn(house.picture(house.imports()))
    assert len(arrows) > 10
    assert all(heights[room] < heights[other] for room, other in arrows)


def test_the_arrows_are_the_imports_and_what_follows_from_them():
    edges = house.imports()
    _, arrows = drawn(house.picture(edges))
    reached = {room: set() for room in edges}
    for _ in edges:
        for room, other in arrows:
            reached[room] |= {other} | reached[other]
    assert all(edges[room] <= reached[room] for room in edges)
    assert set(arrows) <= {(room, other) for room in edges for other in edges[room]}
    assert "linalg" in edges["metrics"]


def test_an_import_that_leads_up_makes_a_circle_and_is_refused(tmp_path):
    folder = shutil.copytree(house.Path(ncutils.__file__).parent, tmp_path / "ncutils")
    with (folder / "linalg.py").open("a") as file:
        file.write("\nfrom ncutils import metrics\n")
    with pytest.raises(ValueError, match="in a circle"):
        house.floors(house.imports(folder))


def test_the_picture_uses_colours_that_show_on_light_and_on_dark_paper():
    def luminance(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    def contrast(a, b):
        high, low = sorted((luminance(a), luminance(b)), reverse=True)
        return (high + 0.05) / (low + 0.05)

    for paper in ("#ffffff", "#14181e"):
        assert contrast(house.LINE, paper) >= 3
        assert contrast(house.FILL, paper) >= 3
    assert contrast(house.TEXT, house.FILL) >= 4.5
