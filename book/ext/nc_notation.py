r"""Links from formulas to the notation: ``{symbols}`` under the question of a chapter.

Its content is a list of formulas, ``$\SigmaW$, $\NC_1$``. Each has to be a symbol of a
row of `notation.md` and has to occur in a formula of its page; it becomes a link to that
row. Where a letter has two meanings, that of the paper of the page is taken.
"""

import re

from docutils import nodes
from nc_data import slug
from nc_nodes import logger, make
from sphinx.util.docutils import SphinxDirective

NOTATION = "book/notation"


def plain(tex: str) -> str:
    """A formula as its tokens, one space between them; spaces of its own are none."""
    return " ".join(
        re.findall(r"\\[A-Za-z]+|\\[^ ,;!A-Za-z]|[^\s\\]", re.sub(r"\\[ ,;!]", " ", tex))
    )


def symbols(tex: str) -> list[str]:
    r"""The symbols of a cell: ``d_0,\\ d_1`` are two, ``(N, d_0)`` is one."""
    return [plain(part) for part in re.split(r",\\ ", tex)]


class SymbolsDirective(SphinxDirective):
    """``{symbols}``: the symbols of this page, linked to the notation."""

    has_content = True

    def run(self):
        line = make("p", "Symbols on this page: ", classes=["nc-symbols"])
        for parsed in self.parse_content_to_nodes():
            line += [child.deepcopy() for child in parsed.children]
        for formula in list(line.findall(nodes.math)):
            link = nodes.reference("", "", internal=True, nc_symbol=plain(formula.astext()))
            self.set_source_info(link)
            formula.replace_self(link)
            link += formula
        return [line]


def collect(app, doctree):
    """Give every row of the notation an anchor; remember what stands in it."""
    env = app.env
    if env.docname != NOTATION:
        return
    env.nc_symbols = []
    for row in doctree.findall(nodes.row):
        cells = list(row.findall(nodes.entry))
        found = [part for tex in cells[0].findall(nodes.math) for part in symbols(tex.astext())]
        title = next(iter(nearest_section(row).findall(nodes.title)))
        if found and isinstance(row.parent, nodes.tbody):
            section = title.astext().partition(":")[0]
            mark = f"symbol-{slug(section)}-{slug(' '.join(found))}"
            row["ids"].append(mark)
            env.nc_symbols.append((section, found, mark, cells[1].astext()))


def nearest_section(node: nodes.Node) -> nodes.Node:
    """The section that a node stands in."""
    while not isinstance(node, nodes.section):
        node = node.parent
    return node


def rows_of(env, symbol: str, page: str) -> list[tuple]:
    """The rows of the notation with a symbol; those of the page's paper, if there are any."""
    rows = [row for row in getattr(env, "nc_symbols", ()) if symbol in row[1]]
    stem = page.rpartition("/")[2]
    papers = {row["paper"] for row in env.app.nc_ledger.rows.values() if row["page"] == stem}
    return [row for row in rows if row[0] in papers] or rows


def link(app, doctree, docname):
    """Link every symbol to its row, now that all pages are known."""
    links = [node for node in doctree.findall(nodes.reference) if "nc_symbol" in node]
    if not links:
        return
    used = [
        plain(formula.astext())
        for formula in doctree.findall(lambda n: isinstance(n, nodes.math | nodes.math_block))
        if "nc_symbol" not in formula.parent
    ]
    for node in links:
        symbol = node["nc_symbol"]
        rows = rows_of(app.env, symbol, docname)
        problem = None
        if len(rows) != 1:
            problem = f"{len(rows)} rows of the notation have the symbol {symbol}"
        elif not any(f" {symbol} " in f" {formula} " for formula in used):
            problem = f"the symbol {symbol} is in no formula of the page"
        if problem:
            logger.warning("%s", problem, location=node, type="nc_notation")
            node.replace_self(node.children)
            continue
        address = app.builder.get_relative_uri(docname, NOTATION)
        node["refuri"] = f"{address}#{rows[0][2]}"
        node["reftitle"] = rows[0][3]


def setup(app):
    """Register the directive."""
    app.setup_extension("nc_book")
    app.add_directive("symbols", SymbolsDirective)
    app.connect("doctree-read", collect)
    app.connect("doctree-resolved", link)
    return {"parallel_read_safe": False, "parallel_write_safe": True, "env_version": 1}
