"""Serve MathJax from the book itself, so that no page asks a network for it.

The files are those of MathJax 3.2.2 in the wheel of sphinx-mathjax-offline.
That wheel's own extension would copy all of it, 15 MB; a page loads one script
and the fonts, under 2 MB, and these are copied.
"""

import importlib.util
import shutil
from pathlib import Path

from sphinx.errors import ExtensionError

SCRIPT = "tex-chtml-full.js"
FONTS = "output/chtml/fonts/woff-v2"


def source() -> Path:
    """The folder of the wheel that holds MathJax."""
    spec = importlib.util.find_spec("sphinx-mathjax-offline")
    folder = Path(spec.origin).parent / "static" / "mathjax" if spec and spec.origin else None
    if folder is None or not (folder / SCRIPT).is_file():
        raise ExtensionError(
            "MathJax is not installed: the package sphinx-mathjax-offline of requirements.lock "
            f"should hold static/mathjax/{SCRIPT}"
        )
    return folder


def copy_files(app, exception):
    """Copy the script and its fonts into the built book."""
    if exception is None and app.builder.format == "html":
        target = Path(app.outdir) / "_static" / "mathjax"
        shutil.copytree(source() / FONTS, target / FONTS, dirs_exist_ok=True)
        shutil.copy(source() / SCRIPT, target)


def setup(app):
    """Point Sphinx at the local script; fail at once where it is not installed."""
    source()
    app.config.mathjax_path = f"mathjax/{SCRIPT}"
    app.connect("build-finished", copy_files)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
