"""The icons the book shows, as a font of 5 kB instead of one of 156 kB.

The theme's style sheet names the glyphs and its font has 1400 of them. A style sheet of
ours holds those that the theme's pages use, under the same name; a browser takes a glyph
from the last font that has it, and reads the theme's own font only for any other.
"""

import base64
import io
import re
from pathlib import Path

import pydata_sphinx_theme
from fontTools import subset

STATIC = Path(pydata_sphinx_theme.__file__).parent / "theme" / "pydata_sphinx_theme" / "static"
FONT = STATIC / "vendor" / "fontawesome" / "webfonts" / "fa-solid-900.ttf"
NAMES = """
angle-down angle-left angle-right arrow-up bars chevron-down circle-half-stroke download
expand file file-code file-pdf list magnifying-glass moon pencil rocket sun xmark
"""

FACE = """@font-face {{
  font-family: "Font Awesome 6 Free";
  font-weight: 900;
  font-display: block;
  src: url(data:font/woff;base64,{font}) format("woff");
  unicode-range: {range};
}}
"""


def glyphs(style: str) -> list[int]:
    """The code points of the icons: those of these names, and those the theme writes itself."""
    found = {ord(glyph) for glyph in re.findall("[\ue000-\uf8ff]", style)}
    for name in NAMES.split():
        code = re.search(rf'\.fa-{name}:before[^{{}}]*\{{content:"\\([0-9a-f]+)"', style)
        if code:
            found.add(int(code[1], 16))
    return sorted(found)


def small_font(path: Path, codes: list[int]) -> bytes:
    """A font that has these glyphs only."""
    options = subset.Options(flavor="woff", layout_features=[], notdef_outline=False)
    made = io.BytesIO()
    with subset.load_font(str(path), options) as font:
        subsetter = subset.Subsetter(options)
        subsetter.populate(unicodes=codes)
        subsetter.subset(font)
        subset.save_font(font, made, options)
    return made.getvalue()


def style_sheet() -> str:
    """The style sheet with the font in it."""
    style = (STATIC / "styles" / "pydata-sphinx-theme.css").read_text(encoding="utf-8")
    codes = glyphs(style)
    font = base64.b64encode(small_font(FONT, codes)).decode()
    return FACE.format(font=font, range=", ".join(f"U+{code:X}" for code in codes))


def write(app, exception):
    """Put the style sheet beside the others."""
    if exception is None and app.builder.format == "html":
        (Path(app.outdir) / "_static" / "icons.css").write_text(style_sheet(), encoding="utf-8")


def setup(app):
    """Let every page read the style sheet."""
    app.add_css_file("icons.css")
    app.connect("build-finished", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
