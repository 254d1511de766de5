"""The reference of the library: one directive, fed by `nc_source`.

``{api-module} metrics`` describes the public names of a module: signature with shapes,
docstring (which is Markdown with formulas), example, and the pages and modules that use
it. ``{api-index}`` is the table of all modules, ``{api-experiments}`` that of the
experiments. A public module that no page describes
is a warning, and the book is built with warnings as errors.
"""

from pathlib import Path

import nc_docstring
import nc_source
import yaml
from docutils import nodes
from nc_nodes import logger, make
from sphinx.util.docutils import SphinxDirective

EXAMPLES = "api_examples.yml"


def anchor(name: str) -> str:
    """`metrics.nc1` as an anchor; `gram` and `Gram` are two names."""
    return "api-" + name.replace(".", "-").replace("_", "-")


def to_page(page: str, words: str) -> nodes.reference:
    """A link to a chapter; its title takes the place of the words when it is known."""
    return nodes.reference("", words, internal=True, nc_api_page=page)


def to_name(name: str, *children) -> nodes.reference:
    """A link to a name or a module of the reference."""
    return nodes.reference("", "", *children, internal=True, nc_api_name=name)


def joined(links: list[nodes.Node]) -> list[nodes.Node]:
    """The links with commas between them."""
    found: list[nodes.Node] = []
    for link in links:
        found += [nodes.Text(", "), link] if found else [link]
    return found


class ModuleDirective(SphinxDirective):
    """``{api-module} NAME``: one section, with one section for each public name."""

    required_arguments = 1

    def run(self):
        short = self.arguments[0]
        path = nc_source.module_path(short)
        if not path.is_file():
            logger.warning("no module %r", short, location=self.get_location(), type="nc_api")
            return []
        self.env.note_dependency(str(path))
        module = nc_source.read_module(short)
        section = self.section(short, nodes.literal("", module.name))
        section += self.text(module.doc, short)
        if module.constants:
            section += self.code("\n".join(f"{name} = {value}" for name, value in module.constants))
        for name in module.names:
            section += self.described(name, short)
        return [section]

    def section(self, name: str, *title: nodes.Node) -> nodes.section:
        mark = anchor(name)
        self.env.nc_api[name] = (self.env.docname, mark)
        section = nodes.section(ids=[mark], names=[mark], classes=["nc-api"])
        self.set_source_info(section)
        section += nodes.title("", "", *title)
        return section

    def described(self, found: nc_source.Name, module: str) -> nodes.section:
        full = f"{module}.{found.name}"
        section = self.section(full, nodes.literal("", found.name))
        section += self.code(found.signature)
        section += self.text(found.doc, module)
        for method in found.methods:
            section += self.method(method, full, module)
        if example := self.env.nc_examples.get(full):
            section += nodes.paragraph("", "", nodes.strong("", "Example"))
            section += self.code(example.rstrip(), language="pycon")
        file = found.file or f"{module.replace('.', '/')}.py"
        section += self.line(full, f"{nc_source.PACKAGE}/{file}, line {found.line}", module)
        return section

    def method(self, found: nc_source.Name, owner: str, module: str):
        mark = anchor(f"{owner}.{found.name}")
        self.env.nc_api[f"{owner}.{found.name}"] = (self.env.docname, mark)
        return make(
            "div",
            self.code(found.signature),
            *self.text(found.doc, module),
            classes=["nc-api-method"],
            ids=[mark],
        )

    def code(self, text: str, language: str = "python") -> nodes.literal_block:
        block = nodes.literal_block(text, text, language=language, classes=["nc-signature"])
        self.set_source_info(block)
        return block

    def text(self, doc: str, module: str) -> list[nodes.Node]:
        """A docstring as nodes; names of the library in it become links."""
        parsed = self.parse_text_to_nodes(nc_docstring.markdown(doc))
        known = self.env.nc_api_names
        for part in parsed:
            for word in list(part.findall(nodes.literal)):
                text = word.astext()
                name = next((n for n in (f"{module}.{text}", text) if n in known), None)
                if name:
                    word.replace_self(to_name(name, nodes.literal("", text)))
        return parsed

    def line(self, full: str, place: str, module: str) -> nodes.paragraph:
        pages, modules = self.env.nc_users
        line = nodes.paragraph("", place, classes=["nc-provenance"])
        order = list(nc_source.catalogue())
        links = [to_page(page, page) for page in sorted(pages.get(full, ()), key=order.index)]
        if links:
            line += [nodes.Text(" · used on "), *joined(links)]
        inside = sorted(modules.get(full, set()) - {module})
        if inside:
            words = [to_name(name, nodes.literal("", name)) for name in inside]
            line += [nodes.Text(" · used by "), *joined(words)]
        return line


class IndexDirective(SphinxDirective):
    """``{api-index}``: every public module, its concept and its names."""

    words = ("Module", "Public names")

    def run(self):
        head = [make("th", word, scope="col") for word in self.words]
        table = make(
            "table",
            make("thead", make("tr", *head)),
            make("tbody", *self.rows()),
            classes=["nc-api-index"],
        )
        return [make("div", table, classes=["nc-table"])]

    def rows(self):
        self.env.nc_api_index.add(self.env.docname)
        return [self.row(name) for name in self.env.nc_api_modules]

    def row(self, short: str):
        module = nc_source.read_module(short)
        first = nc_docstring.prose(module.doc).split("\n\n")[0]
        names = [
            to_name(f"{short}.{name.name}", nodes.literal("", name.name)) for name in module.names
        ]
        return make(
            "tr",
            make("th", to_name(short, nodes.literal("", short)), scope="row"),
            make(
                "td",
                make("div", *self.parse_inline(first)[0]),
                make("div", *joined(names), classes=["nc-small"]),
            ),
        )


class ExperimentsDirective(IndexDirective):
    """``{api-experiments}``: every experiment, what it is about, and the pages that show it."""

    words = ("Experiment", "What it computes, and where it is shown")

    def rows(self):
        shown: dict[str, list[str]] = {}
        for page, cells in nc_source.catalogue().items():
            for cell in cells:
                pages = shown.setdefault(cell.split("/")[0], [])
                pages += [page] if page not in pages else []
        names = [name for name in nc_source.public_modules() if name.startswith("experiments.")]
        return [
            self.row(name, shown.get(name.partition(".")[2], []))
            for name in names
            if name != "experiments.catalogue"
        ]

    def row(self, name: str, pages: list[str]):
        first = nc_docstring.prose(nc_source.read_module(name).doc).split("\n\n")[0]
        links = joined([to_page(page, page) for page in pages])
        place = make("div", "On ", *links, ".", classes=["nc-small"])
        return make(
            "tr",
            make("th", nodes.literal("", name.partition(".")[2]), scope="row"),
            make("td", make("div", *self.parse_inline(first)[0]), *([place] if pages else [])),
        )


def described_modules() -> list[str]:
    """The modules whose names are listed; experiments are jobs and have no callers."""
    return [name for name in nc_source.public_modules() if not name.startswith("experiments")]


def prepare(app, env, docnames):
    """Read the library once for each build."""
    for name, empty in (("nc_api", {}), ("nc_api_index", set())):
        if not hasattr(env, name):
            setattr(env, name, empty)
    env.nc_api_modules = described_modules()
    env.nc_api_names = set(env.nc_api_modules)
    for short in env.nc_api_modules:
        for name in nc_source.read_module(short).names:
            env.nc_api_names |= {
                f"{short}.{name.name}",
                *(f"{short}.{name.name}.{method.name}" for method in name.methods),
            }
    env.nc_users = nc_source.users(Path(env.srcdir) / "notebooks")
    examples = Path(env.srcdir) / "book" / EXAMPLES
    content = examples.read_text(encoding="utf-8") if examples.is_file() else "{}"
    env.nc_examples = yaml.safe_load(content)
    for name in env.nc_examples.keys() - env.nc_api_names:
        logger.warning("an example for %r, which does not exist", name, type="nc_api")


def forget(app, env, docname):
    """Drop the names that a page had described before it is read again."""
    if hasattr(env, "nc_api"):
        env.nc_api = {name: place for name, place in env.nc_api.items() if place[0] != docname}
        env.nc_api_index.discard(docname)


def check(app, env):
    """A book with a reference describes every public module."""
    if env.nc_api_index:
        for name in env.nc_api_modules:
            if name not in env.nc_api:
                logger.warning("no page describes the module %r", name, type="nc_api")


def link(app, doctree, docname):
    """Give every link its address, now that all pages are known."""
    env = app.env
    for node in list(doctree.findall(nodes.reference)):
        if page := node.get("nc_api_page"):
            target, mark = f"notebooks/{page}", ""
            if target in env.found_docs:
                node.children = [nodes.Text(env.titles[target].astext())]
        elif name := node.get("nc_api_name"):
            target, mark = env.nc_api.get(name, (None, ""))
        else:
            continue
        if target not in env.found_docs:
            node.replace_self(nodes.inline("", "", *node.children))
            continue
        address = "" if target == docname else app.builder.get_relative_uri(docname, target)
        node["refuri"] = address + (f"#{mark}" if mark else "")


def setup(app):
    """Register the directives; the elements they use are those of `nc_book`."""
    app.setup_extension("nc_book")
    app.add_directive("api-module", ModuleDirective)
    app.add_directive("api-index", IndexDirective)
    app.add_directive("api-experiments", ExperimentsDirective)
    app.connect("env-before-read-docs", prepare)
    app.connect("env-purge-doc", forget)
    app.connect("env-updated", check)
    app.connect("doctree-resolved", link)
    return {"parallel_read_safe": False, "parallel_write_safe": True, "env_version": 1}
