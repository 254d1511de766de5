"""What the reference needs to know of the library, read from its syntax trees.

Nothing is imported or executed: names, signatures and docstrings come from the source
files, and who uses a name from the files and notebooks that import it.
"""

import ast
import dataclasses
import importlib.util
import json
import re
from collections.abc import Iterator
from pathlib import Path

PACKAGE = "ncutils"
WIDTH = 80  # of a signature that stays on one line


@dataclasses.dataclass(frozen=True)
class Name:
    """A public function, class, method or constant."""

    name: str
    signature: str
    doc: str
    line: int
    arguments: tuple[tuple[str, bool], ...] = ()
    returns: str | None = None
    is_function: bool = True
    methods: tuple["Name", ...] = ()
    file: str | None = None


@dataclasses.dataclass(frozen=True)
class Module:
    """A module: its docstring and its public names, in the order of the file."""

    name: str
    file: str
    doc: str
    names: tuple[Name, ...] = ()
    constants: tuple[tuple[str, str], ...] = ()


def package_folder() -> Path:
    """The folder of the library, found without importing it."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"the reference describes {PACKAGE}, which is not installed")
    return Path(spec.origin).parent


def module_path(name: str) -> Path:
    """The file of a module of the library, `metrics` or `compat.neural_tangents`."""
    return package_folder().joinpath(*name.split(".")).with_suffix(".py")


def public_modules() -> list[str]:
    """Every module without an underscore, packages below the library included, sorted."""
    folder = package_folder()
    found = [path.relative_to(folder).with_suffix("") for path in folder.rglob("*.py")]
    return sorted(
        ".".join(path.parts)
        for path in found
        if not any(part.startswith("_") for part in path.parts)
    )


def is_public(node: ast.AST) -> bool:
    """Whether a definition is meant for users."""
    return not getattr(node, "name", "_").startswith("_")


def read_module(name: str) -> Module:
    """The public names of a module."""
    path = module_path(name)
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = [read_name(node) for node in tree.body if is_public(node)]
    names += shown_for_others(tree)
    return Module(
        name=f"{PACKAGE}.{name}",
        file=f"{PACKAGE}/{path.relative_to(package_folder())}",
        doc=ast.get_docstring(tree) or "",
        names=tuple(found for found in names if found),
        constants=tuple(constants(tree)),
    )


def shown_for_others(tree: ast.Module) -> Iterator[Name]:
    """The classes that a module takes from private modules, for its callers to use."""
    for node in tree.body:
        home = node.module if isinstance(node, ast.ImportFrom) else None
        if home and home.startswith(f"{PACKAGE}._"):
            path = module_path(home.partition(".")[2])
            for found in ast.parse(path.read_text(encoding="utf-8")).body:
                if isinstance(found, ast.ClassDef) and found.name in {a.name for a in node.names}:
                    yield dataclasses.replace(read_class(found), file=path.name)


def constants(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Names in capitals with their values, where these are short enough to be read."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name, value = node.targets[0].id, ast.unparse(node.value)
            if re.fullmatch(r"[A-Z][A-Z0-9_]*", name) and len(value) <= WIDTH:
                yield name, shown(value)


def read_name(node: ast.AST) -> Name | None:
    """A function or a class; None for any other statement."""
    if isinstance(node, ast.FunctionDef):
        return read_function(node)
    if isinstance(node, ast.ClassDef):
        return read_class(node)
    return None


def read_function(node: ast.FunctionDef, *, method: bool = False) -> Name:
    """A function, or a method without its `self`; a property is written as an attribute."""
    kinds = {ast.unparse(mark).split("(")[0] for mark in node.decorator_list}
    arguments = list(written_arguments(node.args))
    if method and "staticmethod" not in kinds:
        arguments = arguments[1:]
    returns = ast.unparse(node.returns) if node.returns else None
    attribute = method and {"property", "functools.cached_property", "cached_property"} & kinds
    return Name(
        name=node.name,
        signature=attribute_line(node.name, returns)
        if attribute
        else call(node.name, [text for text, *_ in arguments], returns),
        doc=ast.get_docstring(node) or "",
        line=node.lineno,
        arguments=() if attribute else tuple((n, known) for _, n, known in arguments if n),
        returns=returns,
    )


def shown(text: str) -> str:
    """Source text with the double quotes that the syntax tree has turned into single ones."""
    return text if '"' in text else text.replace("'", '"')


def attribute_line(name: str, returns: str | None) -> str:
    """A property, as `name: type`."""
    return f"{name}: {shown(returns)}" if returns else name


def call(name: str, arguments: list[str], returns: str | None) -> str:
    """`name(…) -> …` on one line, or with one argument a line."""
    arrow = f" -> {returns}" if returns else ""
    arguments, arrow = [shown(text) for text in arguments], shown(arrow)
    line = f"{name}({', '.join(arguments)}){arrow}"
    if len(line) <= WIDTH or not arguments:
        return line
    return "\n".join([f"{name}(", *(f"    {text}," for text in arguments), f"){arrow}"])


def written_arguments(args: ast.arguments) -> Iterator[tuple[str, str, bool]]:
    """Each argument as it is written, its name, and whether it is annotated."""
    plain = [*args.posonlyargs, *args.args]
    defaults = [None] * (len(plain) - len(args.defaults)) + list(args.defaults)
    for arg, default in zip(plain, defaults, strict=True):
        yield argument(arg, default)
    if args.vararg:
        text, name, known = argument(args.vararg, None)
        yield f"*{text}", name, known
    elif args.kwonlyargs:
        yield "*", "", True
    for arg, default in zip(args.kwonlyargs, args.kw_defaults, strict=True):
        yield argument(arg, default)
    if args.kwarg:
        text, name, _ = argument(args.kwarg, None)
        yield f"**{text}", name, True  # passed on, and described where it goes


def argument(arg: ast.arg, default: ast.expr | None) -> tuple[str, str, bool]:
    """An argument as it is written, its name, and whether it is annotated."""
    if arg.annotation is None:
        text = arg.arg if default is None else f"{arg.arg}={ast.unparse(default)}"
        return text, arg.arg, default is not None
    text = f"{arg.arg}: {ast.unparse(arg.annotation)}"
    return (text if default is None else f"{text} = {ast.unparse(default)}"), arg.arg, True


def read_class(node: ast.ClassDef) -> Name:
    """A class with its fields; of its methods those that say what they do."""
    bases = [ast.unparse(base) for base in node.bases]
    fields = [
        f"    {shown(ast.unparse(item))}"
        for item in node.body
        if isinstance(item, ast.AnnAssign) and not ast.unparse(item.target).startswith("_")
    ]
    methods = [
        read_function(item, method=True)
        for item in node.body
        if isinstance(item, ast.FunctionDef) and is_public(item)
    ]
    head = f"class {node.name}" + (f"({', '.join(bases)})" if bases else "")
    return Name(
        name=node.name,
        signature="\n".join([head + (":" if fields else ""), *fields]),
        doc=ast.get_docstring(node) or "",
        line=node.lineno,
        is_function=False,
        methods=tuple(methods),
    )


def used_names(source: str) -> set[str]:
    """The names of the library that a file uses, as `module.name`, by what it imports.

    A method or a field of a class counts as a use of the class only where the class is
    named; an attribute of something else is none of ours.
    """
    tree = ast.parse(source)
    modules: dict[str, str] = {}
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            base, _, rest = node.module.partition(".")
            if base != PACKAGE:
                continue
            for alias in node.names:
                path = ".".join(part for part in (rest, alias.name) if part)
                known = modules if module_path(path).is_file() else names
                known[alias.asname or alias.name] = path
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith(f"{PACKAGE}.") and alias.asname:
                    modules[alias.asname] = alias.name.partition(".")[2]
    found = set(names.values())
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id in modules
        ):
            found.add(f"{modules[node.value.id]}.{node.attr}")
    return found | set(modules.values())


def catalogue() -> dict[str, tuple[str, ...]]:
    """Which cells each page shows, from the catalogue's source."""
    tree = ast.parse(module_path("experiments.catalogue").read_text(encoding="utf-8"))
    for node in tree.body:
        target = node.target if isinstance(node, ast.AnnAssign) else None
        target = node.targets[0] if isinstance(node, ast.Assign) else target
        if isinstance(target, ast.Name) and target.id == "PAGES":
            return ast.literal_eval(node.value)
    raise ValueError("experiments/catalogue.py has no PAGES")


def experiment_names(experiment: str) -> set[str]:
    """What an experiment uses, the modules beside it that it imports included."""
    waiting, seen, found = [f"experiments.{experiment}"], set(), set()
    while waiting:
        module = waiting.pop()
        path = module_path(module)
        if module in seen or not path.is_file():
            continue
        seen.add(module)
        used = used_names(path.read_text(encoding="utf-8"))
        found |= used
        waiting += [name for name in used if name.startswith("experiments.")]
    return found


def notebook_code(path: Path) -> str:
    """The code cells of an executed notebook, one source."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    texts = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    return "\n\n".join(re.sub(r"(?m)^\s*[%!].*$", "pass", text) for text in texts)


def users(notebooks: Path) -> tuple[dict[str, set[str]], dict[str, set[str]]]:
    """Who uses each name: the pages of the book, and the modules of the library."""
    pages: dict[str, set[str]] = {}
    for page, cells in catalogue().items():
        used = set().union(*(experiment_names(cell.split("/")[0]) for cell in cells))
        notebook = notebooks / f"{page}.ipynb"
        if notebook.is_file():
            used |= used_names(notebook_code(notebook))
        for name in used:
            pages.setdefault(name, set()).add(page)
    modules: dict[str, set[str]] = {}
    for module in public_modules():
        if not module.startswith("experiments"):
            for name in used_names(module_path(module).read_text(encoding="utf-8")):
                modules.setdefault(name, set()).add(module)
    return pages, modules
