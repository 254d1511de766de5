"""The page "A kernel to play with" without a browser: what it loads, and what it shows then.

`python -m tests.book.test_play_still` draws the picture for readers without scripts again.
"""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from bs4 import BeautifulSoup

from ncutils import block_ntk, metrics
from tests.book.test_browser import book  # noqa: F401 - a fixture, used by name
from tests.book.test_play import KEPT, Setting, flow

ASSETS = Path(__file__).resolve().parents[2] / "book" / "assets"


@pytest.mark.book
def test_only_this_page_loads_its_scripts(book):  # noqa: F811
    def loads(path: Path) -> list[str]:
        page = BeautifulSoup(path.read_bytes(), "html.parser")
        names = [tag["src"].split("?")[0] for tag in page.select("script[src]")]
        return [name for name in names if re.search(r"uPlot|odex|play\.js", name)]

    pages = {path: loads(path) for path in book.rglob("*.html") if "_static" not in path.parts}
    assert len(pages.pop(book / "book" / "play.html")) == 3
    assert not any(pages.values())


def test_the_scripts_are_small_and_come_with_their_licences():
    scripts = [*(ASSETS / "vendor").rglob("*.js"), ASSETS / "play.js"]
    assert sum(path.stat().st_size for path in scripts) < 120_000
    for folder in (ASSETS / "vendor").iterdir():
        assert "copyright" in (folder / "LICENSE").read_text(encoding="utf-8").lower()


def test_the_page_has_words_for_every_control_and_a_picture_without_scripts():
    page = BeautifulSoup((ASSETS.parent / "play.md").read_text(encoding="utf-8"), "html.parser")
    for control in page.select("input[type=range]"):
        assert page.select_one(f"label[for={control['id']}]").get_text().strip()
    for control in page.select("input[type=radio]"):
        assert control.find_parent("label").get_text().strip()
    still = page.select_one("noscript img")
    assert len(still["alt"]) > 100
    assert (ASSETS / Path(still["src"]).name).is_file()


WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 330, 60, 210, 14, 48


def curves() -> dict[str, np.ndarray]:
    """The lines of the picture without scripts: points in its own units, by name."""
    s = Setting()
    path, y = flow(s), jnp.repeat(jnp.arange(s.C), s.m)
    H = [block_ntk.compose(*parts, m=s.m).T for parts in zip(path.H1, path.H2, strict=True)]
    found = {
        "training error": path.residual / (s.m * s.C) ** 0.5,
        "NC1": [metrics.nc1(h, y, num_classes=s.C) for h in H],
        "NC2": [metrics.nc2(h, y, num_classes=s.C) for h in H],
        "NC3": [metrics.nc3(h, y, W, num_classes=s.C) for h, W in zip(H, path.W, strict=True)],
    }
    lines = {}
    for name, values in found.items():
        values = np.asarray(values)[1:]
        kept = values > 1e-8
        x = LEFT + (np.log10(KEPT[1:][kept]) + 3) / 5 * (WIDTH - LEFT - RIGHT)
        lines[name] = np.column_stack([x, height_of(np.log10(values[kept]))])
    return lines


def height_of(power):
    return TOP + (1 - power) / 9 * (HEIGHT - TOP - BOTTOM)


def still() -> str:
    """The picture that stands in for the figure where scripts are off."""
    style = {
        "training error": ("#59636e", "none"),
        "NC1": ("#0072b2", "none"),
        "NC2": ("#b84c00", "10 5"),
        "NC3": ("#007a59", "3 4"),
    }
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
    ]
    for power in range(-8, 1, 2):
        y = height_of(power)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#d8dee4"/>')
        parts.append(
            f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{power_of(power)}</text>'
        )
    for power in range(-3, 3):
        x = LEFT + (power + 3) / 5 * (WIDTH - LEFT - RIGHT)
        parts.append(f'<path d="M{x:.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="#d8dee4"/>')
        place = f'x="{x:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle"'
        parts.append(f"<text {place}>{power_of(power)}</text>")
    middle = LEFT + (WIDTH - LEFT - RIGHT) / 2
    parts.append(f'<text x="{middle:.1f}" y="{HEIGHT - 8}" text-anchor="middle">time t</text>')
    for i, (name, points) in enumerate(curves().items()):
        colour, dash = style[name]
        line = f'fill="none" stroke="{colour}" stroke-width="2.2" stroke-dasharray="{dash}"'
        words = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline id="{name}" points="{words}" {line}/>')
        y = 60 + 26 * i
        parts.append(f'<path d="M{WIDTH - RIGHT + 18} {y}h36" {line}/>')
        parts.append(f'<text x="{WIDTH - RIGHT + 62}" y="{y + 4}">{name}</text>')
    return "\n".join([*parts, "</svg>", ""])


def power_of(n: int) -> str:
    return f'10<tspan dy="-5" font-size="9.5">{str(n).replace("-", "−")}</tspan>'


def test_the_picture_without_scripts_shows_the_flow_of_the_library():
    drawn = BeautifulSoup((ASSETS / "play.svg").read_text(encoding="utf-8"), "html.parser")
    lines = {
        line["id"]: np.array([point.split(",") for point in line["points"].split()], dtype=float)
        for line in drawn.select("polyline")
    }
    wanted = curves()
    assert set(lines) == set(wanted)
    for name, points in wanted.items():
        np.testing.assert_allclose(lines[name], points, atol=0.15)
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(lines["NC1"][:30], lines["NC2"][:30], atol=0.15)


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    (ASSETS / "play.svg").write_text(still(), encoding="utf-8")
