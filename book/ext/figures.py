"""``{nc-figure} ID``: both images of a figure, its claims, its provenance and its files."""

from pathlib import Path
from typing import ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util.docutils import SphinxDirective

from .ledger import LedgerReader
from .numbers import provenance, read_json
from .typeset import typeset

IMAGES = {"svg": "only-light", "dark_svg": "only-dark"}
DOWNLOADS = {"csv": "data as CSV", "nc": "data as netCDF", "svg": "SVG", "png": "PNG"}
LINE = (
    '<p class="nc-provenance">{{ words }}{% for path, word in files %} · '
    '<a file="{{ path }}">{{ word }}</a>{% endfor %}</p>'
)


class FigureDirective(SphinxDirective, LedgerReader):
    """A figure of the staged tree; its first paragraph is the caption."""

    required_arguments = 1
    has_content = True
    option_spec: ClassVar = {"claims": directives.unchanged, "name": directives.unchanged}

    def run(self):
        name = self.arguments[0]
        path = Path(self.env.srcdir) / "figures" / f"{name}.json"
        self.env.note_dependency(str(path))
        record = read_json(path)
        if problem := self.fault(name, record):
            self.warn("%s", problem)
            return [nodes.paragraph("", f"Figure {name} has not been drawn.")]
        figure = nodes.figure("", classes=["nc-figure"])
        self.set_source_info(figure)
        figure += self.images(record)
        caption, rest = self.caption(name)
        figure += caption
        badges = self.badges(self.options.get("claims", "").replace(",", " ").split())
        shown = [nodes.paragraph("", "", *badges, classes=["nc-badges"])] if badges else []
        words = " · ".join(provenance(record, verb="Drawn"))
        line = typeset(LINE, words=words, files=self.files(record, DOWNLOADS))
        figure += nodes.legend("", *rest, *shown, *line)
        self.options.setdefault("name", name)
        self.add_name(figure)
        return [figure]

    def fault(self, name: str, record: dict | None) -> str | None:
        """What is wrong with the record of a figure."""
        if record is None:
            return f"no figure {name!r}: there is no figures/{name}.json"
        if not record.get("alt", "").strip():
            return f"figure {name!r} has no text for readers who do not see it"
        missing = [kind for kind in IMAGES if kind not in record["files"]]
        return f"figure {name!r} has no file {', '.join(missing)}" if missing else None

    def files(self, record: dict, kinds: dict[str, str]) -> list[tuple[str, str]]:
        """The files of these kinds in the staged tree, each with a word."""
        names = record["files"]
        found = [(names[kind], word) for kind, word in kinds.items() if kind in names]
        return [(f"/figures/{Path(name).name}", word) for name, word in found]

    def images(self, record: dict) -> nodes.Node:
        """The image for the light and that for the dark page."""
        holder = nodes.container(classes=["nc-images"])
        for path, look in self.files(record, IMAGES):
            holder += nodes.image(uri=path, alt=record["alt"], classes=[look])
        return holder

    def caption(self, name: str) -> tuple[nodes.Node, list[nodes.Node]]:
        """The first paragraph, and what follows it."""
        content = self.parse_content_to_nodes()
        if not content or not isinstance(content[0], nodes.paragraph):
            self.warn("figure %r needs a caption", name)
            return nodes.caption("", name), content
        first, *rest = content
        return nodes.caption(first.rawsource, "", *first.children), rest
