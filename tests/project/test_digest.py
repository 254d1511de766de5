"""Freshness follows meaning: what is recomputed after an edit, over every case of the book."""

import ast
import functools
import shutil
import symtable
from pathlib import Path

import grimp
import pytest

from ncutils import experiments
from ncutils.records import digest

LIBRARY = Path(digest.__file__).resolve().parents[1]
CASES = sorted(experiments.cases())
GRAPH = grimp.build_graph("ncutils")


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    """A copy of the library, in a project with a lock of its own."""
    copy = tmp_path_factory.mktemp("project") / "ncutils"
    shutil.copytree(LIBRARY, copy, ignore=shutil.ignore_patterns("__pycache__"))
    (copy.parent / "requirements.lock").write_text("numpy==2.4.6\n")
    return copy


@pytest.fixture
def library(copied, monkeypatch):
    """The copy, whose cases are asked; as it was at the beginning of each test."""
    monkeypatch.setattr(digest, "PACKAGE", copied)
    monkeypatch.setenv("NCUTILS_ROOT", str(copied.parent))
    kept = {path: path.read_bytes() for path in copied.rglob("*.py")}
    yield copied
    (copied.parent / "requirements.lock").write_text("numpy==2.4.6\n")
    for path in copied.rglob("*.py"):
        if path not in kept:
            path.unlink()
        elif path.read_bytes() != kept[path]:
            path.write_bytes(kept[path])


def digests():
    return {name: digest.case_digest(name) for name in CASES}


def stale(before):
    """The cases that would be computed again."""
    return {name for name, old in before.items() if digest.case_digest(name) != old}


def rewrite(path, old, new):
    text = path.read_text(encoding="utf-8")
    assert old in text, f"{old!r} is not in {path.name}"
    path.write_text(text.replace(old, new), encoding="utf-8")


def reaching(file):
    """The cases behind which there is this file of the library."""
    return {name for name in CASES if LIBRARY / file in reached(name)}


def test_every_case_has_a_digest_of_its_own():
    found = digests()
    assert "unknown" not in found.values()
    assert len(set(found.values())) == len(CASES) > 25
    assert digest.case_digest("nobody2020/nothing/at_all") == "unknown"
    assert digest.case_digest(CASES[0] + "_not_there") == "unknown"


def test_a_comment_a_docstring_or_the_layout_of_any_module_recomputes_nothing(library):
    before = digests()
    for path in library.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                continue
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                first.value.value = "Something else."
        # Comments go as well, and lines are broken in other places.
        path.write_text("# Of no meaning.\n" + ast.unparse(tree), encoding="utf-8")
    assert stale(before) == set()


def test_another_mirror_recomputes_nothing_and_another_checksum_does(library):
    before = digests()
    sources = library / "data" / "sources.py"
    (old,) = [
        node.value
        for node in ast.walk(ast.parse(sources.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and str(node.value).startswith("https://ossci-datasets")
    ]
    rewrite(sources, f'"{old}"', '"https://example.org/", "https://example.com/"')
    assert stale(before) == set()
    rewrite(sources, "md5:", "sha256:")
    assert stale(before) == reaching("data/sources.py")
    assert stale(before)


def test_what_keeps_books_moves_files_or_draws_recomputes_nothing(library):
    before = digests()
    for path in (
        library / "__init__.py",
        library / "_files.py",
        *sorted((library / "records").glob("*.py")),
        *sorted((library / "figures").glob("*.py")),
        library / "experiments" / "__init__.py",
        library / "experiments" / "__main__.py",
    ):
        path.write_text(path.read_text(encoding="utf-8") + "\nassert 1 + 1 == 2\n")
    # The digest that is asked is that of the installed library, not of the copy.
    assert stale(before) == set()


def test_one_operator_recomputes_exactly_the_cases_that_reach_it(library):
    before = digests()
    path = library / "entk.py"
    tree = ast.parse(path.read_text(encoding="utf-8"))
    product = next(
        node for node in ast.walk(tree) if isinstance(node, ast.BinOp) and node.op.__class__
    )
    product.op = ast.Sub() if not isinstance(product.op, ast.Sub) else ast.Add()
    path.write_text(ast.unparse(tree), encoding="utf-8")
    found = stale(before)
    assert found == reaching("entk.py")
    assert 0 < len(found) < len(CASES), "a kernel of networks is not behind every case"


def reached(name):
    """The files behind a case, found by another way: Python's own table of symbols."""
    module, _, function = name.rpartition("/")
    start = LIBRARY / "experiments" / f"{module}.py"
    body = ast.parse(start.read_text(encoding="utf-8")).body
    meaning = {}
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            meaning[node.name] = node
        elif isinstance(node, ast.ImportFrom | ast.Import):
            prefix = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
            for alias in node.names:
                meaning[(alias.asname or alias.name).partition(".")[0]] = prefix + alias.name
        else:
            for part in ast.walk(node):
                if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
                    meaning[part.id] = node
    waiting, seen, files = [function], set(), set()
    while waiting:
        word = waiting.pop()
        if word in seen or word not in meaning:
            continue
        seen.add(word)
        if isinstance(meaning[word], str):
            files |= behind(meaning[word])
        else:
            waiting += global_names(ast.unparse(meaning[word]))
    return files


def global_names(text):
    """The names that a statement looks up outside itself."""
    waiting, found = [symtable.symtable(text, "a statement", "exec")], set()
    while waiting:
        table = waiting.pop()
        for symbol in table.get_symbols():
            outside = symbol.is_global() and not symbol.is_local()
            if symbol.is_referenced() and (outside or table.get_type() == "module"):
                found.add(symbol.get_name())
        waiting += table.get_children()
    return found


@functools.cache
def behind(name):
    """The files of a module, or of the module of a name, and of all that it imports."""
    while name and name not in GRAPH.modules:
        name = name.rpartition(".")[0]
    if not name or name == "ncutils":
        return set()
    names = {name} | GRAPH.find_upstream_modules(name)
    where = (LIBRARY.parent / one.replace(".", "/") for one in names)
    return {
        path
        for base in where
        for path in (base.with_suffix(".py"), base / "__init__.py")
        if path.is_file()
    }


def test_the_configuration_of_a_case_belongs_to_that_case_alone(library):
    for name in CASES:
        module, _, function = name.rpartition("/")
        path = library / "experiments" / f"{module}.py"
        mates = [one for one in CASES if one.startswith(f"{module}/")]
        before = {one: digest.case_digest(one) for one in mates}
        text = path.read_text(encoding="utf-8")
        tree = ast.parse(text)
        (node,) = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == function]
        (mark,) = [m for m in node.decorator_list if isinstance(m, ast.Call)]
        mark.keywords[-1].value = ast.Constant("another configuration")
        path.write_text(ast.unparse(tree), encoding="utf-8")
        assert stale(before) == {name}
        path.write_text(text, encoding="utf-8")


def test_the_names_of_every_statement_of_the_library_are_those_of_python_s_own_table():
    for path in sorted(LIBRARY.rglob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if not isinstance(node, ast.Import | ast.ImportFrom):
                missed = global_names(ast.unparse(node)) - digest._names(node)
                assert not missed, f"{path}, line {node.lineno}: {missed}"


def test_what_is_a_function_s_own_reaches_nothing_of_that_name():
    def names(text):
        return digest._names(ast.parse(text).body[0])

    assert names("def f(x, *, y=a): z = x; return z + b") == {"a", "b"}
    assert names("def f(): return [x for x in x if y]") == {"x", "y"}
    assert names("def f():\n    global x\n    x = 1\n    return x") == {"x"}
    assert names("def f():\n    def g(y): return x\n    x = 1\n    return g, y") == {"y"}
    assert names("class A:\n    x: int = y\n    def f(self): return x") == {"int", "y", "x"}
    assert names("x = y['z']") == {"y"}


def test_of_an_import_only_the_names_that_a_case_uses_count(library):
    path = library / "experiments" / "toy2020" / "line.py"
    path.parent.mkdir(exist_ok=True)
    text = (
        "from ncutils import {}linalg\nfrom ncutils.experiments import case\nSIZE = 3\n"
        "try:\n    import fast\nexcept ImportError:\n    fast = None\n\n\n"
        "@case(smoke=1, quick=2, paper=3)\ndef one(config): return linalg, SIZE\n\n\n"
        "@case(smoke=1, quick=2, paper=3)\ndef two(config): return kernels\n"
    )
    path.write_text(text.format("kernels, "))
    one, two = (digest.case_digest(f"toy2020/line/{name}") for name in ("one", "two"))
    path.write_text(text.format("kernels, metrics, "))
    assert digest.case_digest("toy2020/line/one") == one
    path.write_text(text.format("kernels, ").replace("SIZE = 3", "SIZE = 4"))
    assert digest.case_digest("toy2020/line/one") != one
    assert digest.case_digest("toy2020/line/two") == two
    path.write_text(text.format("kernels, "))
    rewrite(library / "kernels" / "limits.py", "+", "-")
    assert digest.case_digest("toy2020/line/one") == one
    assert digest.case_digest("toy2020/line/two") != two


def test_the_lock_is_behind_every_case(library):
    before = digests()
    (library.parent / "requirements.lock").write_text("numpy==2.4.7\n")
    assert stale(before) == set(CASES)


def test_source_files_are_those_reached_by_imports_and_no_others():
    def names(module, **more):
        found = digest.source_files(module, **more)
        return {path.relative_to(LIBRARY).as_posix() for path in found}

    assert names("ncutils.metrics") == {
        "metrics/__init__.py",
        "metrics/features.py",
        "metrics/kernel.py",
        "linalg.py",
    }
    assert names("ncutils.training.checkpoint") == {"training/checkpoint.py"}  # no _files
    assert {"_files.py", "records/workspace.py"} <= names("ncutils.figures.style", outside=())
    with pytest.raises(ValueError, match=r"ncutils\.nothing"):
        digest.source_files("ncutils.nothing")


def test_the_digest_of_a_page_moves_with_what_it_imports_and_not_with_its_layout(tmp_path):
    script = tmp_path / "page.py"
    script.write_text("from ncutils import metrics\nx = [1, 2]\n")
    first = digest.source_digest(script)
    script.write_text("# A comment.\nfrom ncutils import metrics\nx = [\n    1,\n    2,\n]\n")
    assert digest.source_digest(script) == first
    script.write_text("from ncutils import metrics\nx = [1, 3]\n")
    assert digest.source_digest(script) != first
