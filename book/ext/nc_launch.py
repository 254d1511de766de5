"""What a reader can take away from a page, in one line under its heading.

The notebook as it was executed, the arrays of its figures, and a notebook to run: in the
browser where the book knows its repository, else on the reader's machine, with the command.
Reads ``launch/index.json`` of the staged tree, and is silent where there is none. The first
page has an empty place that is filled when there is a PDF of the book (``pipeline/pdf.py``).
"""

from pathlib import Path

from docutils import nodes
from nc_data import read_json
from nc_nodes import download, make

#: Before Sphinx collects the files to copy, and before the page line, which goes above.
EARLY = 400


def size(path: Path) -> str:
    """``84 kB`` or ``1.4 MB``."""
    count = path.stat().st_size
    return f"{count / 1e3:.0f} kB" if count < 1e6 else f"{count / 1e6:.1f} MB"


def outside(words: str, address: str) -> nodes.reference:
    """A link that leaves the book."""
    return nodes.reference("", words, refuri=address, internal=False)


def command(page: str) -> nodes.Node:
    """How to run a page's notebook from a checkout."""
    text = f".venv/bin/papermill {page}.ipynb {page}.done.ipynb"
    return nodes.literal("", text)


def offers(app, page: str, buttons: dict[str, str]) -> list[nodes.Node]:
    """The parts of the line, without what stands between them."""
    docname, source = app.env.docname, Path(app.srcdir)
    parts: list[nodes.Node] = [
        make("a", "executed notebook", href="", download="", classes=["download", "nc-executed"]),
    ]
    name = f"data/{page}-{app.nc_ledger.header.get('scale')}.zip"
    if (source / name).is_file():
        words = f"data of its figures (zip, {size(source / name)})"
        parts.append(download(f"/{name}", docname, words))
    parts += [outside(words, address) for words, address in buttons.items()]
    run = nodes.inline("", "", download(f"/launch/{page}.ipynb", docname, "notebook to run"))
    if not buttons:
        run += [nodes.Text(", in the folder of the project: "), command(page)]
    return [*parts, run]


def add_offers(app, doctree):
    """Put the line under the heading of a page that was computed."""
    folder, _, page = app.env.docname.rpartition("/")
    title = next(iter(doctree.findall(nodes.title)), None)
    if title is None:
        return
    place = title.parent.index(title) + 1
    if app.env.docname == app.config.root_doc:
        title.parent.insert(place, make("p", classes=["nc-pdf"], hidden="hidden"))
    path = Path(app.srcdir) / "launch" / "index.json"
    known = (read_json(path) or {}).get(page)
    if folder != "notebooks" or known is None:
        return
    app.env.note_dependency(str(path))
    line = make("p", classes=["nc-offers"])
    for part in offers(app, page, known["buttons"]):
        line += [nodes.Text(" · " if line.children else "Take this page with you: "), part]
    title.parent.insert(place, line)


def address_executed(app, doctree, docname):
    """Let the first link lead to the copy that the theme's own button offers too."""
    for node in doctree.findall(nodes.Element):
        if "nc-executed" in node.get("classes", ()):
            ending = app.config.html_sourcelink_suffix
            ending = "" if ending == ".ipynb" else ending
            up = "../" * docname.count("/")
            node["attributes"]["href"] = f"{up}_sources/{docname}.ipynb{ending}"


def setup(app):
    """Listen; the repository is a setting of the book, though the pipeline reads it."""
    app.add_config_value("nc_repository", "", "env", types=[str])
    app.connect("doctree-read", add_offers, priority=EARLY)
    app.connect("doctree-resolved", address_executed)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
