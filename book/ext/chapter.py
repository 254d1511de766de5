r"""What makes a page a chapter: its question, its symbols, its lesson, its verdicts.

``{question}`` stands right under the heading of a chapter, ``{verdicts}`` at its end: a
table of the page's claims. ``{symbols}`` lists formulas, ``$\SigmaW$, $\NC_1$``; each has to
be a symbol of a row of `notation.md` and to occur in a formula of its page, and becomes a
link to that row. Where a letter has two meanings, that of the paper of the page is taken.

The lesson is a visible code cell with the tag ``lesson``. Under the heading of every page
stands how it was made, and what a reader can take away from it.
"""

import re
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.util.docutils import SphinxDirective

from .ledger import LedgerReader
from .numbers import VERDICTS, provenance, read_json, slug
from .typeset import logger, reference, typeset

NOTATION = "book/notation"
#: What may stand between the heading of a chapter and its question.
ASIDE = (nodes.title, nodes.comment, nodes.target, nodes.substitution_definition)
HIDDEN = {"hide-input", "hide-cell", "remove-input", "remove-cell"}


def page_of(docname: str) -> str | None:
    """``KEY/PAGE`` of a chapter, None for any other page."""
    folder, _, page = docname.partition("/")
    return page if folder == "notebooks" else None


class QuestionDirective(SphinxDirective):
    """``{question}``: what a chapter asks, in one or two sentences."""

    has_content = True

    def run(self):
        text = '<div class="nc-question"><div class="nc-question-label">The question</div></div>'
        (box,) = typeset(text)
        box += self.parse_content_to_nodes()
        return [box]


class VerdictsDirective(SphinxDirective, LedgerReader):
    """``{verdicts}``: what became of the claims of this page."""

    def run(self):
        page, ledger = page_of(self.env.docname), self.ledger(generated=True)
        rows = [row for row in ledger.rows.values() if row["page"] == page]
        if not rows:
            self.warn("no claim of the ledger belongs to the page %r", page)
            return []
        found = [row["verdict"] for row in rows]
        counts = {verdict: found.count(verdict) for verdict in VERDICTS if verdict in found}
        about = {"rows": rows, "counts": counts, "scale": ledger.scale}
        return self.placed(typeset("verdicts", self, **about))


# --- symbols ------------------------------------------------------------------------------------


def plain(tex: str) -> str:
    """A formula as its tokens, one space between them; spaces of its own are none."""
    return " ".join(
        re.findall(r"\\[A-Za-z]+|\\[^ ,;!A-Za-z]|[^\s\\]", re.sub(r"\\[ ,;!]", " ", tex))
    )


def symbols(tex: str) -> list[str]:
    r"""The symbols of a cell: ``d_0,\\ d_1`` are two, ``(N, d_0)`` is one."""
    return [plain(part) for part in re.split(r",\\ ", tex)]


class SymbolsDirective(SphinxDirective, LedgerReader):
    """``{symbols}``: the symbols of this page, linked to the notation."""

    has_content = True

    def run(self):
        (line,) = typeset('<p class="nc-symbols">Symbols on this page: </p>')
        for parsed in self.parse_content_to_nodes():
            line += [child.deepcopy() for child in parsed.children]
        for formula in list(line.findall(nodes.math)):
            symbol = plain(formula.astext())
            self.domain.here.asked.append(symbol)
            formula.replace_self(reference("symbol", symbol, formula.deepcopy()))
        return [line]


def collect_symbols(domain, docname: str, document: nodes.document) -> None:
    """Note the formulas of a page; give every row of the notation an anchor for each symbol."""
    links = [one for one in document.findall(addnodes.pending_xref) if one["reftype"] == "symbol"]
    listed = {id(formula) for one in links for formula in one.findall(nodes.math)}
    formulas = document.findall(lambda one: isinstance(one, nodes.math | nodes.math_block))
    domain.here.formulas = [plain(one.astext()) for one in formulas if id(one) not in listed]
    for row in document.findall(nodes.row) if docname == NOTATION else ():
        cells = list(row.findall(nodes.entry))
        found = [part for tex in cells[0].findall(nodes.math) for part in symbols(tex.astext())]
        if not found or not isinstance(row.parent, nodes.tbody):
            continue
        section = row.parent
        while not isinstance(section, nodes.section):
            section = section.parent
        head = section.next_node(nodes.title).astext().partition(":")[0]
        mark = f"symbol-{slug(head)}-{slug(' '.join(found))}"
        row["ids"].append(mark)
        for symbol in found:
            domain.here.anchors["symbol", f"{head}: {symbol}"] = mark
            domain.here.meanings[f"{head}: {symbol}"] = cells[1].astext()


def rows_of(domain, symbol: str, docname: str) -> list[str]:
    """The rows of the notation with a symbol; those of the page's paper, if there are any."""
    said = domain.pages.get(NOTATION)
    rows = [name for name in (said.meanings if said else ()) if name.partition(": ")[2] == symbol]
    tag = domain.ledger.papers.get((page_of(docname) or "").partition("/")[0], {}).get("tag")
    return [name for name in rows if name.partition(": ")[0] == tag] or rows


def check_symbols(domain) -> None:
    """Every symbol that a page lists has one row, and is used on the page."""
    for docname, said in sorted(domain.pages.items()):
        for symbol in said.asked:
            rows, problem = rows_of(domain, symbol, docname), None
            if len(rows) != 1:
                problem = f"{len(rows)} rows of the notation have the symbol {symbol}"
            elif not any(f" {symbol} " in f" {formula} " for formula in said.formulas):
                problem = f"the symbol {symbol} is in no formula of the page"
            if problem:
                logger.warning("%s", problem, location=docname, type="nc")


# --- the frame of a chapter ---------------------------------------------------------------------


def check_frame(domain, docname: str, document: nodes.document) -> None:
    """A chapter belongs to a paper, opens with its question and has a table of its verdicts."""
    page = page_of(docname)
    if page is None or not domain.env.config.nc_chapters:
        return
    key = page.partition("/")[0]
    section = next(iter(document.findall(nodes.section)), None)
    body = [child for child in (section or ()) if not isinstance(child, ASIDE)]
    looks = [node["classes"] for node in document.findall(nodes.Element)]
    problem = None
    if key not in domain.ledger.papers:
        problem = f"the page belongs to no paper: write claims/{key}.yml, or move {docname}.py"
    elif not body or "nc-question" not in body[0]["classes"]:
        problem = "a chapter opens with its question: put a {question} right under the heading"
    elif not any("nc-verdicts" in classes for classes in looks):
        problem = "a chapter closes with its verdicts: there is no {verdicts} on the page"
    if problem:
        logger.warning("%s", problem, location=docname, type="nc")


def has_lesson(notebook: dict) -> bool:
    """Whether a notebook has a visible code cell with the tag ``lesson``."""
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    tags = [set(cell["metadata"].get("tags", ())) for cell in code]
    return any("lesson" in given and not given & HIDDEN for given in tags)


def check_lessons(domain) -> None:
    """Every chapter opens with a lesson that a reader sees."""
    for docname in sorted(domain.env.found_docs) if domain.env.config.nc_lessons else ():
        path = Path(domain.env.doc2path(docname))
        if page_of(docname) and path.suffix == ".ipynb" and not has_lesson(read_json(path)):
            advice = 'write a visible cell tagged "lesson" under its question, that calls ncutils'
            logger.warning("%s.py has no lesson: %s", docname, advice, type="nc")


def recorded(source: str, rows: dict[str, dict]) -> list[str]:
    """The claims that a cell judges: those that it names, if it calls ``judge``."""
    if not re.search(r"\bjudge\b|\bclaims\.\w+\(", source):
        return []
    named = set(re.findall(r"""["']([^"'\s]+)["']""", source))
    return sorted(named & rows.keys())


# --- the lines under the heading ----------------------------------------------------------------


def add_lines(domain, docname: str, document: nodes.document) -> None:
    """Say under the first heading how the page was made, and what a reader can take away."""
    title = next(iter(document.findall(nodes.title)), None)
    if title is None:
        logger.warning("the page has no heading", location=docname, type="nc")
        return
    env, page, ledger = domain.env, page_of(docname), domain.ledger
    path, verb, record = ledger.path, "Built", ledger.header
    if page is not None:
        path, verb = Path(env.srcdir) / "pages" / f"{page}.json", "Computed"
        record = read_json(path)
    env.note_dependency(str(path))
    if record is None:
        logger.warning("there is no pages/%s.json", page, location=docname, type="nc")
        return
    launch, scale = Path(env.srcdir) / "launch" / "index.json", ledger.scale
    known = (read_json(launch) or {}).get(page)
    if known is not None:
        env.note_dependency(str(launch))
    suffix = env.config.html_sourcelink_suffix.removeprefix(".ipynb")
    lines = typeset(
        "page_lines",
        made=" · ".join(provenance(record, verb=verb)),
        page=page,
        is_first=docname == env.config.root_doc,
        offered=known,
        executed="../" * docname.count("/") + f"_sources/{docname}.ipynb{suffix}",
        bundle=bundle(Path(env.srcdir), f"data/{page}-{scale}.zip"),
    )
    place = title.parent.index(title) + 1
    title.parent[place:place] = lines


def bundle(source: Path, name: str) -> tuple[str, str] | None:
    """The data of a page's figures, and how large they are: ``84 kB`` or ``1.4 MB``."""
    if not (source / name).is_file():
        return None
    count = (source / name).stat().st_size
    return f"/{name}", f"{count / 1e3:.0f} kB" if count < 1e6 else f"{count / 1e6:.1f} MB"
