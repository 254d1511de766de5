"""The reference of the library, read by griffe from its source; nothing of it is imported.

``{api-module} kernels`` describes a room: what it exports, then the public modules below it
that have names of their own. Each name has its signature with shapes, its docstring (which
is Markdown with formulas) and the pages and rooms that use it. ``{api-index}`` is the table
of all rooms, ``{api-experiments}`` that of the experiments. A room that no page describes is
a warning, and the book is built with warnings as errors.
"""

import importlib.util
import re
from collections import defaultdict
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
        folder = Path(importlib.util.find_spec(PACKAGE).origin).parents[1]
        options = {"allow_inspection": False, "resolve_aliases": True}
        self.source = source
        self.root = griffe.load(PACKAGE, search_paths=[folder], **options)
        self.rooms = below(self.root)
        self.experiments = self.rooms.pop("experiments")

    def find(self, dotted: str) -> griffe.Object | None:
        """The object at the end of a path below the package, or the last on the way to it."""
        found, inside = None, self.root
        for part in dotted.split("."):
            # A method or a field of a class counts as a use of the class.
            member = inside.members.get(part) if inside.is_module else None
            # `training.fit` is the function that is imported, not the module of that name.
            target = inside.imports.get(part, "") if member is not None else ""
            if target.startswith(f"{PACKAGE}."):
                member = self.root[target.partition(".")[2]]
            if member is None or (target and PACKAGE not in target):
                break
            found = inside = member.final_target if member.is_alias else member
        return found

    def entries(self, path: str, module: griffe.Module) -> dict[str, griffe.Object]:
        """What a module offers, by public path: its ``__all__``, or else what it defines."""
        own = [name for name, one in module.members.items() if not one.is_alias and name[0] != "_"]
        found = {name: self.find(f"{path}.{name}") for name in module.exports or own}
        return {f"{path}.{name}": one for name, one in found.items() if one and not one.is_module}

    def sections(self, room: str) -> Iterator[tuple[str, griffe.Module, dict[str, griffe.Object]]]:
        """A room and the modules below it that have names or much to say: path, module, names."""
        seen = self.entries(room, self.rooms[room])
        yield room, self.rooms[room], seen
        known = {one.canonical_path for one in seen.values()}
        for name, module in below(self.rooms[room]).items():
            names = self.entries(f"{room}.{name}", module).items()
            rest = {path: one for path, one in names if one.canonical_path not in known}
            says_more = module.docstring and "\n\n" in module.docstring.value
            if any(not one.is_attribute for one in rest.values()) or says_more:
                # `training.fit` is a function, too.
                path = f"{room}.{name}"
                yield f"{path}.py" if path in seen else path, module, rest

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
        found, imports = set(), griffe.visit("code", Path("code.py"), code).imports
        for name, path in imports.items():
            if path.startswith(f"{PACKAGE}."):
                for chain in re.findall(rf"(?<![\w.]){name}((?:\.\w+)*)", code):
                    found.add(self.find(path.partition(".")[2] + chain))
        return {one.canonical_path for one in found if one is not None}

    @cached_property
    def cases(self) -> dict[str, list[str]]:
        """The cases that each page reads, as the records of the pages say."""
        records = {path: read_json(path) for path in sorted(self.source.glob("pages/*/*.json"))}
        return {
            f"{path.parent.name}/{path.stem}": [one["case"] for one in record.get("results", [])]
            for path, record in records.items()
        }

    @cached_property
    def users(self) -> tuple[dict[str, set[str]], dict[str, set[str]]]:
        """The pages and the rooms that use each name, by where it is defined."""
        pages, rooms = defaultdict(set), defaultdict(set)
        for page, cases in self.cases.items():
            used = self.used(notebook_code(self.source / "notebooks" / f"{page}.ipynb"))
            waiting, seen = [f"experiments.{case.replace('/', '.')}" for case in cases], set()
            while waiting:
                one = self.find(waiting.pop())
                path = one and Path(one.filepath)
                if path in (None, *seen):
                    continue
                seen.add(path)
                inside = self.used(path.read_text(encoding="utf-8"))
                paths = [name.partition(".")[2] for name in inside]
                waiting += [name for name in paths if name.startswith("experiments.")]
                used |= inside
            for name in used:
                pages[name].add(page)
        for room, module in self.rooms.items():
            for path in files(module):
                for name in self.used(path.read_text(encoding="utf-8")):
                    rooms[name].add(room)
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


def signature(one: griffe.Object) -> str:
    """`name(…) -> …` on one line, or with one argument a line; a class with its fields."""
    if one.is_attribute:
        return f"{one.name}: {quoted(one.annotation)}" if one.annotation else one.name
    if one.is_class:
        fields = {
            name: f"    {name}: {part.annotation}" + (f" = {part.value}" if part.value else "")
            for name, part in one.attributes.items()
            if name[0] != "_" and part.annotation and "property" not in part.labels
        }
        bases = f"({', '.join(map(str, one.bases))})" if one.bases else ""
        return "\n".join(
            [f"class {one.name}{bases}{':' * bool(fields)}", *map(quoted, fields.values())]
        )
    line = quoted(one.signature())
    if one.parent.is_class and "staticmethod" not in one.labels:
        line = re.sub(r"\((?:self|cls)(?:, )?", "(", line, count=1)
    head, inside, arrow = re.fullmatch(r"(\w+)\((.*)\)( -> .*)?", line).groups("")
    if len(line) <= WIDTH or not inside:
        return line
    # A comma between arguments, not one inside a type.
    inside = re.sub(r", (?=[*/]|\w+(?:: |=| =))", ",\n    ", inside)
    return f"{head}(\n    {inside},\n){arrow}"


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
            marked = LABEL.sub(r"\n\n**\1.** ", part).split("\n\n")
            words = [" ".join(paragraph.split()) for paragraph in marked]
            blocks += [f"```pycon\n{part.strip()}\n```"] if ">>> " in part else words
    return "\n\n".join(block for block in blocks if block)


def listed(label: str, pairs: list[tuple[str, str]]) -> str:
    """Names with what is said of them, as a list below a label."""
    lines = [f"- `{name}`: {prose(text)}".replace("\n", "\n  ") for name, text in pairs]
    return f"**{label}**\n\n" + "\n".join(lines)


def markdown(one: griffe.Object) -> str:
    """A docstring as MyST Markdown: labels in bold, items as lists, formulas as they are."""
    blocks = []
    for part in one.docstring.parse("google", **PARSING) if one.docstring else ():
        kind, value = part.kind.value, part.value
        if kind == "text":
            blocks.append(prose(value))
        elif kind in LISTS:
            pairs = [(str(getattr(i, "name", i.annotation)), i.description) for i in value]
            blocks.append(listed(LISTS[kind], pairs))
        elif kind == "examples":
            blocks += ["**Example**", *(prose(text) for _, text in value)]
        elif kind == "admonition":
            # Griffe gives a title to what has none on its first line.
            label, title = value.kind.capitalize(), part.title or ""
            blocks.append(
                admonition(label, "" if title.lower() == value.kind else title, value.contents)
            )
        else:
            # Griffe takes what stands before a colon for a type.
            typed = [i for i in value if str(i.annotation) not in ("None", str(one.returns))]
            words = [f"{i.annotation}: " * (i in typed) + i.description for i in value]
            blocks.append(f"**{kind.capitalize()}.** {prose(' '.join(words))}")
    return "\n\n".join(block for block in blocks if block)


def admonition(label: str, title: str, text: str) -> str:
    """A part that is no section of Google's: Source, Kinds, Example."""
    parts = ITEM.split(text)
    if not title and not parts[0] and len(parts) > 2:
        return listed(label, list(zip(parts[1::2], parts[2::2], strict=True)))
    words = prose(f"{title} {text}".strip())
    return f"**{label}**\n\n{words}" if words.startswith("```") else f"**{label}.** {words}"


# --- directives ---------------------------------------------------------------------------------


class RoomDirective(SphinxDirective, LedgerReader):
    """``{api-module} ROOM``: one section, with one section for each public name."""

    required_arguments = 1

    def run(self):
        room, library, whole = self.arguments[0], self.domain.library, []
        if not self.choice("module", room, library.rooms):
            return []
        for path in files(library.rooms[room]):
            self.env.note_dependency(str(path))
        for path, module, names in library.sections(room):
            section = self.section(path, module.canonical_path, module)
            pairs = {one.name: quoted(one.value) for one in names.values() if one.is_attribute}
            lines = [f"{name} = {text}" for name, text in pairs.items() if len(text) <= WIDTH]
            section += [self.code("\n".join(lines))] if lines else []
            for name, one in names.items():
                section += [] if one.is_attribute else [self.described(name, one)]
            whole += [section]
            if section is not whole[0]:
                whole[0] += section
        return whole[:1]

    def section(self, name: str, title: str, one: griffe.Object, *content) -> nodes.section:
        """The section of a module, a function or a class, begun with its docstring."""
        section = nodes.section(ids=[self.anchor(name)], classes=["nc-api"])
        section["names"] = section["ids"]
        self.set_source_info(section)
        section += [nodes.title("", "", nodes.literal("", title)), *content]
        section += self.text(markdown(one), name)
        return section

    def described(self, name: str, one: griffe.Object) -> nodes.section:
        """The section of a function or a class."""
        section = self.section(name, name.rpartition(".")[2], one, self.code(signature(one)))
        for method in methods(one):
            mark = self.anchor(f"{name}.{method.name}")
            holder = nodes.container(classes=["nc-api-method"], ids=[mark])
            holder += self.code(signature(method))
            holder += self.text(markdown(method), name)
            section += holder
        pages, rooms = (found.get(one.canonical_path, set()) for found in self.domain.library.users)
        others = sorted(rooms - {name.partition(".")[0]})
        section += typeset("used", one=one, pages=sorted(pages), rooms=others)
        return section

    def anchor(self, name: str) -> str:
        """The anchor of a name; `gram` and `Gram` are two."""
        mark = "api-" + name.replace(".", "-").replace("_", "-")
        self.domain.here.anchors["name", name] = mark
        return mark

    def code(self, text: str) -> nodes.literal_block:
        """A block of code."""
        block = nodes.literal_block(text, text, language="python", classes=["nc-signature"])
        self.set_source_info(block)
        return block

    def text(self, words: str, name: str) -> list[nodes.Node]:
        """Markdown as nodes; names of the library in it become links."""
        parsed, known = self.parse_text_to_nodes(words), self.domain.library.names
        homes = [name.rsplit(".", k)[0] for k in range(name.count(".") + 1)]
        for word in [word for part in parsed for word in list(part.findall(nodes.literal))]:
            text = word.astext()
            if found := [
                one for one in (*(f"{home}.{text}" for home in homes), text) if one in known
            ]:
                word.replace_self(reference("name", found[0], nodes.literal("", text)))
        return parsed


class IndexDirective(SphinxDirective, LedgerReader):
    """``{api-index}``: every room, what it is about, and its names."""

    def run(self):
        self.domain.here.lists_library, library = True, self.domain.library
        rooms = {
            room: [
                [name for name, one in names.items() if not one.is_attribute] for *_, names in found
            ]
            for room, found in ((room, library.sections(room)) for room in library.rooms)
        }
        about = {room: markdown(module).split("\n\n")[0] for room, module in library.rooms.items()}
        return typeset("api_index", self, rooms=rooms, about=about)


class ExperimentsDirective(SphinxDirective, LedgerReader):
    """``{api-experiments}``: every experiment, what it is about, and the pages that show it."""

    def run(self):
        shown: dict[str, list[str]] = {}
        for page, cases in self.domain.library.cases.items():
            for module in {case.rpartition("/")[0] for case in cases}:
                shown.setdefault(module, []).append(page)
        rows = [
            (f"{key}/{name}", markdown(module).split("\n\n")[0], shown.get(f"{key}/{name}", []))
            for key, drawer in below(self.domain.library.experiments).items()
            for name, module in below(drawer).items()
        ]
        return typeset("api_experiments", self, rows=rows)
