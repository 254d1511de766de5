"""Keep the book off the network: every page works from a disk, without a request.

Formulas are set by MathJax 3.2.2 from the wheel of sphinx-mathjax-offline. That
wheel's own extension would copy all of it, 15 MB; a page loads one script and
the fonts, under 2 MB, and these are copied.

Live code is off in this book, yet Jupyter Book writes the scripts of Thebe, with
the address of a server in them, into every page, and twice, which a browser
rejects as an error. They are taken out.
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


def copy_mathjax(app, exception):
    """Copy the script and its fonts into the built book."""
    if exception is None and app.builder.format == "html":
        target = Path(app.outdir) / "_static" / "mathjax"
        shutil.copytree(source() / FONTS, target / FONTS, dirs_exist_ok=True)
        shutil.copy(source() / SCRIPT, target)


def without_thebe(app, page, template, context, doctree):
    """Leave out the scripts and styles of live code."""
    for kind in ("script_files", "css_files"):
        context[kind] = [
            file
            for file in context.get(kind, [])
            if "thebe" not in f"{file} {getattr(file, 'attributes', '')}".lower()
        ]


def setup(app):
    """Point Sphinx at the local script; fail at once where it is not installed."""
    source()
    app.config.mathjax_path = f"mathjax/{SCRIPT}"
    app.connect("build-finished", copy_mathjax)
    app.connect("html-page-context", without_thebe, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
