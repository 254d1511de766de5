"""What a number depends on, by meaning: syntax trees, not bytes. Standard library only.

A result is stale when what decides its numbers has changed. That is the syntax tree, without
docstrings, of the modules that its case reaches by imports. A comment, a docstring, the
formatting, the address of a mirror or a module that only keeps books decides no number.
"""

import ast
import functools
import hashlib
from collections.abc import Iterable
from pathlib import Path

from ncutils.records.workspace import project_root

PACKAGE = Path(__file__).resolve().parent.parent
#: Modules that decide no number: the map, files and paths, book-keeping, the decorator of cases.
OUTSIDE = ("ncutils", "ncutils._files", "ncutils.records", "ncutils.experiments")
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
DEFINITIONS = (*FUNCTIONS, ast.ClassDef)
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
IMPORTS = (ast.Import, ast.ImportFrom)
ADDRESS = "an address"


def _module_file(name: str) -> Path | None:
    base = PACKAGE.parent.joinpath(*name.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


def _is_address(node) -> bool:
    return (
        isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and node.value.startswith(("http://", "https://"))
    )


class _Meaning(ast.NodeTransformer):
    """Leaves out docstrings and addresses, which decide no number."""

    def generic_visit(self, node):
        """Drop a docstring where one may stand, then go on below."""
        if isinstance(node, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                node.body = node.body[1:]
        return super().generic_visit(node)

    def visit_Constant(self, node):
        """An address says where a file is, its checksum what is in it."""
        return ast.copy_location(ast.Constant(ADDRESS), node) if _is_address(node) else node

    def visit_Tuple(self, node):
        """One more mirror decides as little as another address."""
        return self._several(node)

    def visit_List(self, node):
        """As for a tuple."""
        return self._several(node)

    def _several(self, node: ast.Tuple | ast.List):
        if node.elts and all(map(_is_address, node.elts)):
            return ast.copy_location(ast.Constant(ADDRESS), node)
        return self.generic_visit(node)


def _tree(path: Path) -> ast.Module:
    stat = path.stat()
    return _tree_of(path, (stat.st_mtime_ns, stat.st_size))


@functools.lru_cache(maxsize=1024)
def _tree_of(path: Path, stamp: tuple[int, int]) -> ast.Module:  # noqa: ARG001 (tells versions apart)
    return _Meaning().visit(ast.parse(path.read_text(encoding="utf-8")))


def _dump(path: Path) -> str:
    stat = path.stat()
    return _dump_of(path, (stat.st_mtime_ns, stat.st_size))


@functools.lru_cache(maxsize=1024)
def _dump_of(path: Path, stamp: tuple[int, int]) -> str:
    return ast.dump(_tree_of(path, stamp))


@functools.lru_cache(maxsize=1024)
def _imports_of(path: Path, stamp: tuple[int, int]) -> frozenset[str]:
    return frozenset(_imported([_tree_of(path, stamp)]))


def _imported(nodes: Iterable[ast.AST]) -> set[str]:
    """Names that may be modules of `ncutils`, from every import below these nodes."""
    names = set()
    for top in nodes:
        for node in ast.walk(top):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ncutils"):
                for alias in node.names:
                    inside = f"{node.module}.{alias.name}"
                    names.add(inside if _module_file(inside) else str(node.module))
    return {name for name in names if name.split(".")[0] == "ncutils"}


def source_files(*sources: str | Path, outside: tuple[str, ...] = OUTSIDE) -> list[Path]:
    """The files of `ncutils` that these modules or files reach by imports, sorted.

    Read from the syntax trees, nothing is executed.

    Args:
        sources: dotted module names inside `ncutils`, or paths of Python files.
        outside: modules that are not followed; a package stands for what is in it, but for
            the experiments, whose drawers hold the cases.

    Raises:
        ValueError: if a named module does not exist.
    """
    waiting, reached = list(sources), set()
    while waiting:
        source = waiting.pop()
        path = source if isinstance(source, Path) else _module_file(source)
        if path is None:
            raise ValueError(f"no module {source!r} in ncutils")
        path = path.resolve()
        if path not in reached:
            reached.add(path)
            stat = path.stat()
            waiting += _modules(_imports_of(path, (stat.st_mtime_ns, stat.st_size)), outside)
    return sorted(reached)


def _modules(names: Iterable[str], outside: tuple[str, ...] = OUTSIDE) -> list[str]:
    """Those of the names that are modules to be followed."""
    below = tuple(f"{name}." for name in outside if name == "ncutils.records")
    return [
        name
        for name in names
        if name not in outside and not name.startswith(below) and _module_file(name)
    ]


def _hash(*parts: str) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode() + b"\0")
    return digest.hexdigest()[:16]


def source_digest(*sources: str | Path, outside: tuple[str, ...] = OUTSIDE) -> str:
    """A short hash of the meaning of `source_files(*sources, outside=outside)`."""
    files = source_files(*sources, outside=outside)
    return _hash(*(f"{path.name}\0{_dump(path)}" for path in files))


def _names(node: ast.AST) -> set[str]:
    """The names by which a statement reaches others: those that are not its own.

    A parameter or a variable of a function is its own, whatever else has that name. A text is
    no name, not even in an annotation.
    """
    if isinstance(node, ast.Name):
        return set() if isinstance(node.ctx, ast.Store) else {node.id}
    children = list(ast.iter_child_nodes(node))
    if isinstance(node, COMPREHENSIONS):
        first = node.generators[0].iter  # looked up outside
        own = _stored(one.target for one in node.generators)
        return _names(first) | (_all_names(children) - own)
    if isinstance(node, (*FUNCTIONS, ast.Lambda)):
        body = node.body if isinstance(node.body, list) else [node.body]
        signature = [child for child in children if child not in body]
        parts = [part for one in body for part in ast.walk(one)]
        shared = {name for part in parts if isinstance(part, ast.Global) for name in part.names}
        own = {part.arg for part in ast.walk(node.args) if isinstance(part, ast.arg)}
        own |= _stored(body) - shared
        return _all_names(signature) | (_all_names(body) - own)
    return _all_names(children)


def _all_names(nodes: Iterable[ast.AST]) -> set[str]:
    return {name for node in nodes for name in _names(node)}


def _stored(nodes: Iterable[ast.AST]) -> set[str]:
    """The names that these give a meaning to in their own scope, not in one below."""
    found, waiting = set(), list(nodes)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.ExceptHandler) and node.name:
            found.add(node.name)
        elif isinstance(node, (*DEFINITIONS, *IMPORTS)):
            found |= _defined(node)
        if not isinstance(node, (*DEFINITIONS, *COMPREHENSIONS, ast.Lambda)):
            waiting += ast.iter_child_nodes(node)
    return found


def _defined(node) -> set[str]:
    """The names that a statement of a module gives a meaning to."""
    if isinstance(node, DEFINITIONS):
        return {node.name}
    if isinstance(node, IMPORTS):
        return {_bound(alias) for alias in node.names}
    names = set()
    for part in ast.walk(node):  # an assignment, or what stands below an `if` or a `try`
        if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
            names.add(part.id)
        elif isinstance(part, (*DEFINITIONS, *IMPORTS)):
            names |= _defined(part)
    return names


def _bound(alias: ast.alias) -> str:
    return (alias.asname or alias.name).split(".")[0]


def _only(node: ast.stmt, wanted: set[str]) -> ast.stmt:
    """Of an import, the names that are wanted; any other statement as it is."""
    if isinstance(node, ast.Import):
        return ast.Import([alias for alias in node.names if _bound(alias) in wanted])
    if isinstance(node, ast.ImportFrom):
        names = [alias for alias in node.names if _bound(alias) in wanted or alias.name == "*"]
        return ast.ImportFrom(node.module, names, node.level)
    return node


def reached_in_module(path: Path, function: str) -> list[ast.stmt]:
    """The statements of a module that a function of it reaches by name, in their order.

    Statements that define no name (a setting, say) always count; of an import only the names
    that are reached do.

    Args:
        path: the module's file.
        function: a function of it.

    Raises:
        ValueError: if the module has no such function.
    """
    body = _tree(path).body
    if not any(isinstance(node, ast.FunctionDef) and node.name == function for node in body):
        raise ValueError(f"{path.name} has no function {function!r}")
    wanted, kept = {function}, set()
    while True:
        new = {
            place
            for place, node in enumerate(body)
            if place not in kept and (not (names := _defined(node)) or names & wanted)
        }
        if not new:
            return [_only(body[place], wanted) for place in sorted(kept)]
        kept |= new
        for place in new:
            if not isinstance(body[place], IMPORTS):
                wanted |= _names(body[place])


def case_digest(name: str) -> str:
    """What the numbers of a case depend on: the code that its function reaches, and the lock.

    Args:
        name: "KEY/MODULE/CASE", a function of a module of `ncutils.experiments`.

    Returns:
        A short hash, or "unknown" for a case that is not there.
    """
    module, _, function = name.rpartition("/")
    path = _module_file("ncutils.experiments." + module.replace("/", "."))
    lock = project_root() / "requirements.lock"
    locked = lock.read_text(encoding="utf-8") if lock.is_file() else ""
    if path is None:
        return "unknown"
    try:
        own = reached_in_module(path, function)
    except ValueError:
        return "unknown"
    reached = source_files(*_modules(_imported(own)))
    files = (f"{file.name}\0{_dump(file)}" for file in reached if file != path.resolve())
    return _hash(name, *map(ast.dump, own), *files, locked)
