"""The reference of the library, read by griffe from its source; nothing of it is imported.

``{api-module} kernels`` describes a room: what it exports, then the public modules below it
that have names of their own. Each name has its signature with shapes, its docstring (which
is Markdown with formulas) and the pages and rooms that use it. ``{api-index}`` is the table
of all rooms, ``{api-experiments}`` that of the experiments. A room that no page describes is
a warning, and the book is built with warnings as errors.
"""

import ast
import importlib.util
import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import griffe
from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from .ledger import LedgerReader
from .numbers import read_json
from .typeset import reference, typeset

PACKAGE = "ncutils"
WIDTH = 80  # of a signature or a constant that stays on one line
PARSING = {"warnings": False, "returns_named_value": False, "returns_multiple_items": False}
LISTS = {"parameters": "Args", "attributes": "Attributes", "raises": "Raises"}
#: `Args, Raises: as for f`, a paragraph that is no section of its own.
LABEL = re.compile(r"^((?:Args|Raises|Returns|Source|Notes)(?:, [A-Z][a-z]+)*):\s+", re.MULTILINE)
ITEM = re.compile(r'^("[^"]+"(?:, "[^"]+")*|\w+):\s+', re.MULTILINE)


class Library:
    """The library as its source has it.

    Attributes:
        root: the package.
        rooms: its public modules, the experiments left out, by their names.
    """

    def __init__(self, source: Path):
        """Read the library; ``source`` is the staged tree, whose pages use it."""
        spec = importlib.util.find_spec(PACKAGE)
        if spec is None or spec.origin is None:
            raise ModuleNotFoundError(f"the reference describes {PACKAGE}, which is not installed")
        folder = Path(spec.origin).parent
        self.source = source
        self.root = griffe.load(
            PACKAGE, search_paths=[folder.parent], allow_inspection=False, resolve_aliases=True
        )
        public = below(self.root)
        self.experiments = public.pop("experiments")
        self.rooms = public

    def find(self, dotted: str) -> griffe.Object | None:
        """The object at the end of a path below the package, or the last on the way to it."""
        found = None
        for part in dotted.split("."):
            inside = self.root if found is None else found
            if inside is not self.root and not inside.is_module:
                break  # a method or a field of a class counts as a use of the class
            if (member := inside.members.get(part)) is None:
                break
            try:
                found = member.final_target if member.is_alias else member
            except griffe.AliasResolutionError:
                break
        return found

    def entries(self, path: str, module: griffe.Module) -> dict[str, griffe.Object]:
        """What a module offers, by public path: its ``__all__``, or else what it defines."""
        own = [name for name, one in module.members.items() if not one.is_alias and name[0] != "_"]
        found = {name: self.find(f"{path}.{name}") for name in module.exports or own}
        return {f"{path}.{name}": one for name, one in found.items() if one and not one.is_module}

    def sections(self, room: str) -> Iterator[tuple[str, griffe.Module, dict[str, griffe.Object]]]:
        """A room and the modules below it that have names of their own: path, module, names."""
        seen = self.entries(room, self.rooms[room])
        yield room, self.rooms[room], seen
        known = {one.canonical_path for one in seen.values()}
        for name, module in below(self.rooms[room]).items():
            names = self.entries(f"{room}.{name}", module).items()
            rest = {path: one for path, one in names if one.canonical_path not in known}
            if any(not one.is_attribute for one in rest.values()) or not names:
                yield f"{room}.{name}", module, rest

    @cached_property
    def names(self) -> dict[str, str]:
        """Every name that the reference can describe, by public path, and where it is defined."""
        found = {}
        for room in self.rooms:
            for path, module, names in self.sections(room):
                found[path] = module.canonical_path
                for name, one in names.items():
                    found[name] = one.canonical_path
                    found |= {f"{name}.{sub.name}": sub.canonical_path for sub in methods(one)}
        return found

    def used(self, code: str) -> set[str]:
        """Where the names that some code takes from the library are defined, by its imports."""
        tree, homes, found = ast.parse(code), {}, set()
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
                base, _, rest = node.module.partition(".")
                for alias in node.names if base == PACKAGE else ():
                    homes[alias.asname or alias.name] = f"{rest}.{alias.name}".strip(".")
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    if alias.name.startswith(f"{PACKAGE}.") and alias.asname:
                        homes[alias.asname] = alias.name.partition(".")[2]
        for node in ast.walk(tree):
            chain = ast.unparse(node) if isinstance(node, ast.Attribute | ast.Name) else ""
            first, dot, rest = chain.partition(".")
            if first in homes and re.fullmatch(r"[\w.]+", chain):
                found.add(self.find(f"{homes[first]}{dot}{rest}"))
        return {one.canonical_path for one in found if one is not None}

    @cached_property
    def cases(self) -> dict[str, list[str]]:
        """The cases that each page reads, as the records of the pages say."""
        folder, found = self.source / "pages", {}
        for path in sorted(folder.glob("*/*.json")):
            used = (read_json(path) or {}).get("results", [])
            found[path.relative_to(folder).with_suffix("").as_posix()] = [
                one["case"] for one in used
            ]
        return found

    @cached_property
    def users(self) -> tuple[dict[str, set[str]], dict[str, set[str]]]:
        """The pages and the rooms that use each name, by where it is defined."""
        pages: dict[str, set[str]] = {}
        for page, cases in self.cases.items():
            used = self.used(notebook_code(self.source / "notebooks" / f"{page}.ipynb"))
            waiting, seen = [f"experiments.{case.replace('/', '.')}" for case in cases], set()
            while waiting:
                one = self.find(waiting.pop())
                module = one if one is None or one.is_module else one.module
                if module is None or module.canonical_path in seen:
                    continue
                seen.add(module.canonical_path)
                inside = self.used(Path(module.filepath).read_text(encoding="utf-8"))
                below = [path.partition(".")[2] for path in inside]
                waiting += [path for path in below if path.startswith("experiments.")]
                used |= inside
            for name in used:
                pages.setdefault(name, set()).add(page)
        rooms: dict[str, set[str]] = {}
        for room, module in self.rooms.items():
            for path in files(module):
                for name in self.used(path.read_text(encoding="utf-8")):
                    rooms.setdefault(name, set()).add(room)
        return pages, rooms


def below(module: griffe.Module) -> dict[str, griffe.Module]:
    """The public modules of a package; not those that it imports."""
    found = module.modules.items()
    return {name: one for name, one in sorted(found) if not one.is_alias and name[0] != "_"}


def files(module: griffe.Module) -> list[Path]:
    """The files of a room."""
    return [Path(one.filepath) for one in (module, *below(module).values())]


def notebook_code(path: Path) -> str:
    """The code cells of an executed notebook, one source."""
    cells = (read_json(path) or {"cells": []})["cells"]
    texts = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    return "\n\n".join(re.sub(r"(?m)^\s*[%!].*$", "pass", text) for text in texts)


# --- signatures and docstrings ------------------------------------------------------------------


def methods(one: griffe.Object) -> list[griffe.Object]:
    """The public methods and properties of a class."""
    if not one.is_class:
        return []
    members = [member for name, member in one.members.items() if name[0] != "_"]
    return [sub for sub in members if sub.is_function or "property" in sub.labels]


def quoted(text) -> str:
    """Source text with the double quotes that the syntax tree has turned into single ones."""
    return str(text) if '"' in str(text) else str(text).replace("'", '"')


def arguments(one: griffe.Function, *, is_method: bool = False) -> list[str]:
    """Each argument as it is written."""
    stars = {"variadic positional": "*", "variadic keyword": "**"}
    found, given = [], list(one.parameters)
    for place, part in enumerate(given):
        kind = part.kind.value if part.kind else ""
        if is_method and place == 0 and "staticmethod" not in one.labels:
            continue
        if kind == "keyword-only" and not any("*" in text for text in found):
            found.append("*")
        text = stars.get(kind, "") + part.name
        text += f": {part.annotation}" if part.annotation is not None else ""
        if part.default is not None and kind not in stars:
            text += f" = {part.default}" if part.annotation is not None else f"={part.default}"
        found.append(quoted(text))
    return found


def signature(one: griffe.Object, *, is_method: bool = False) -> str:
    """`name(…) -> …` on one line, or with one argument a line; a class with its fields."""
    if one.is_attribute:
        return f"{one.name}: {quoted(one.annotation)}" if one.annotation else one.name
    if one.is_class:
        fields = [
            f"    {name}: {quoted(part.annotation)}"
            + (f" = {quoted(part.value)}" if part.value else "")
            for name, part in one.attributes.items()
            if name[0] != "_" and part.annotation and "property" not in part.labels
        ]
        bases = ", ".join(map(str, one.bases))
        head = f"class {one.name}" + (f"({bases})" if bases else "") + (":" if fields else "")
        return "\n".join([head, *fields])
    texts = arguments(one, is_method=is_method)
    arrow = f" -> {quoted(one.returns)}" if one.returns is not None else ""
    line = f"{one.name}({', '.join(texts)}){arrow}"
    if len(line) <= WIDTH or not texts:
        return line
    return "\n".join([f"{one.name}(", *(f"    {text}," for text in texts), f"){arrow}"])


def prose(text: str) -> str:
    """Paragraphs on one line each, displayed formulas on lines of their own, examples as code."""
    blocks = []
    for piece in re.split(r"(\$\$.+?\$\$[.,;:]?)", text, flags=re.DOTALL):
        if piece.startswith("$$"):
            inner, _, mark = piece[2:].rpartition("$$")
            lines = [line.strip() for line in inner.splitlines() if line.strip()]
            blocks.append("\n".join(["$$", *lines[:-1], lines[-1] + mark, "$$"]))
            continue
        for part in re.split(r"\n\s*\n", piece):
            is_example = part.lstrip().startswith(">>>")
            if is_example:
                blocks.append(f"```pycon\n{part.strip()}\n```")
            else:
                marked = LABEL.sub(r"\n\n**\1.** ", part).split("\n\n")
                blocks += [" ".join(paragraph.split()) for paragraph in marked]
    return "\n\n".join(block for block in blocks if block)


def listed(pairs: list[tuple[str, str]]) -> str:
    """Names with what is said of them, as a list."""
    return "\n".join(f"- `{name}`: {prose(text)}".replace("\n", "\n  ") for name, text in pairs)


def markdown(one: griffe.Object) -> str:
    """A docstring as MyST Markdown: labels in bold, items as lists, formulas as they are."""
    blocks = []
    for part in one.docstring.parse("google", **PARSING) if one.docstring else ():
        kind, value = part.kind.value, part.value
        if kind == "text":
            blocks.append(prose(value))
        elif kind in LISTS:
            pairs = [(str(getattr(i, "name", i.annotation)), i.description) for i in value]
            blocks.append(f"**{LISTS[kind]}**\n\n{listed(pairs)}")
        elif kind == "examples":
            texts = [text if said.value == "text" else f"\n\n{text}" for said, text in value]
            blocks.append("**Example**\n\n" + "\n\n".join(map(prose, texts)))
        elif kind == "admonition":
            blocks.append(admonition(value.kind.capitalize(), part.title, value.contents))
        else:
            # Griffe takes what stands before a colon for a type.
            typed = [str(i.annotation) not in ("None", str(one.returns)) for i in value]
            words = " ".join(
                f"{i.annotation}: {i.description}" if has_type else i.description
                for i, has_type in zip(value, typed, strict=True)
            )
            blocks.append(f"**{kind.capitalize()}.** {prose(words)}")
    return "\n\n".join(block for block in blocks if block)


def admonition(label: str, title: str | None, text: str) -> str:
    """A part that is no section of Google's: Source, Kinds, Example."""
    # Griffe gives a title to what has none on its first line.
    title = "" if (title or "").lower() == label.lower() else title
    parts = ITEM.split(text)
    if not title and not parts[0] and len(parts) > 2:
        return f"**{label}**\n\n" + listed(list(zip(parts[1::2], parts[2::2], strict=True)))
    if text.lstrip().startswith(">>>"):
        return f"**{label}**\n\n{prose(text)}"
    return f"**{label}.** " + prose(f"{title} {text}".strip())


# --- directives ---------------------------------------------------------------------------------


class LibraryDirective(SphinxDirective, LedgerReader):
    """What the directives share."""

    def first(self, module: griffe.Module) -> str:
        """The first paragraph of a module's docstring."""
        return markdown(module).split("\n\n")[0]


class RoomDirective(LibraryDirective):
    """``{api-module} ROOM``: one section, with one section for each public name."""

    required_arguments = 1

    def run(self):
        """The section of a room, those of the modules below it inside."""
        room, library = self.arguments[0], self.domain.library
        if room not in library.rooms:
            self.warn("no module %r; there are %s", room, ", ".join(library.rooms))
            return []
        for path in files(library.rooms[room]):
            self.env.note_dependency(str(path))
        whole = None
        for path, module, names in library.sections(room):
            section = self.section(path, f"{PACKAGE}.{path}")
            section += self.text(markdown(module), path)
            section += self.constants(names)
            section += [
                self.described(*one, path) for one in names.items() if not one[1].is_attribute
            ]
            if whole is None:
                whole = section
            else:
                whole += section
        return [whole]

    def section(self, name: str, title: str) -> nodes.section:
        """An empty section for a name."""
        mark = self.domain.name_anchor("name", name, anchor(name))
        section = nodes.section(ids=[mark], names=[mark], classes=["nc-api"])
        self.set_source_info(section)
        section += nodes.title("", "", nodes.literal("", title))
        return section

    def constants(self, names: dict[str, griffe.Object]) -> list[nodes.Node]:
        """The constants whose values are short enough to be read."""
        pairs = {one.name: quoted(one.value) for one in names.values() if one.is_attribute}
        lines = [f"{name} = {value}" for name, value in pairs.items() if len(value) <= WIDTH]
        return [self.code("\n".join(lines))] if lines else []

    def described(self, full: str, one: griffe.Object, path: str) -> nodes.section:
        """The section of a function or a class."""
        section = self.section(full, full.rpartition(".")[2])
        section += self.code(signature(one))
        section += self.text(markdown(one), path)
        for method in methods(one):
            mark = self.domain.name_anchor(
                "name", f"{full}.{method.name}", anchor(f"{full}.{method.name}")
            )
            holder = nodes.container(classes=["nc-api-method"], ids=[mark])
            holder += self.code(signature(method, is_method=True))
            holder += self.text(markdown(method), path)
            section += holder
        pages, rooms = self.domain.library.users
        section += typeset(
            "used",
            self,
            file=one.relative_package_filepath.as_posix(),
            line=one.lineno,
            pages=sorted(pages.get(one.canonical_path, ())),
            rooms=sorted(rooms.get(one.canonical_path, set()) - {path.partition(".")[0]}),
        )
        return section

    def code(self, text: str) -> nodes.literal_block:
        """A block of code."""
        block = nodes.literal_block(text, text, language="python", classes=["nc-signature"])
        self.set_source_info(block)
        return block

    def text(self, words: str, path: str) -> list[nodes.Node]:
        """Markdown as nodes; names of the library in it become links."""
        parsed, known = self.parse_text_to_nodes(words), self.domain.library.names
        room = path.partition(".")[0]
        for part in parsed:
            for word in list(part.findall(nodes.literal)):
                text = word.astext()
                names = (f"{path}.{text}", f"{room}.{text}", text)
                if name := next((name for name in names if name in known), None):
                    link = reference("name", name, self.env.docname, nodes.literal("", text))
                    word.replace_self(link)
        return parsed


def anchor(name: str) -> str:
    """`metrics.nc1` as an anchor; `gram` and `Gram` are two names."""
    return "api-" + name.replace(".", "-").replace("_", "-")


class IndexDirective(LibraryDirective):
    """``{api-index}``: every room, what it is about, and its names."""

    def run(self):
        """The table."""
        self.domain.here.lists_library = True
        rooms = [
            (
                room,
                self.first(module),
                [list(names) for _, _, names in self.domain.library.sections(room)],
            )
            for room, module in self.domain.library.rooms.items()
        ]
        return typeset("api_index", self, rooms=rooms)


class ExperimentsDirective(LibraryDirective):
    """``{api-experiments}``: every experiment, what it is about, and the pages that show it."""

    def run(self):
        """The table."""
        shown: dict[str, list[str]] = {}
        for page, cases in self.domain.library.cases.items():
            for module in {case.rpartition("/")[0] for case in cases}:
                shown.setdefault(module, []).append(page)
        rows = [
            (f"{key}/{name}", self.first(module), shown.get(f"{key}/{name}", []))
            for key, drawer in below(self.domain.library.experiments).items()
            for name, module in below(drawer).items()
        ]
        return typeset("api_experiments", self, rows=rows)
