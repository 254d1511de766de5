"""Which results a cell of a notebook judges its claims by.

Read off the code, without running it: names hold what they were made from, statement
by statement, back to the calls of ``results.load``. Nothing here knows about Sphinx.
"""

import ast
from collections.abc import Collection, Iterator

#: The experiment and the cell that made a result.
Result = tuple[str, str]

RECORDERS = {"record", "not_computable"}


def texts(tree: ast.AST) -> set[str]:
    """The strings that stand in a piece of code."""
    return {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


def calls(tree: ast.AST, module: str, names: Collection[str]) -> Iterator[ast.Call]:
    """The calls ``module.name(…)`` in a piece of code."""
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in names
            and isinstance(node.func.value, ast.Name)
            and node.func.value.id == module
        ):
            yield node


def own_names(tree: ast.AST) -> set[str]:
    """The names that comprehensions and small functions inside have for themselves."""
    own = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.comprehension):
            own |= {part.id for part in ast.walk(node.target) if isinstance(part, ast.Name)}
        elif isinstance(node, ast.arg):
            own.add(node.arg)
    return own


class Trace:
    """The results behind every name of a notebook, so far.

    Where the code leaves the cell of a ``results.load`` open, all cells that the
    statement names count, or else all that the page uses of the experiment.
    """

    def __init__(self, results: Collection[Result], claims: Collection[str]):
        """Start a notebook that uses ``results`` and may name ``claims``."""
        self.results = tuple(results)
        self.claims = set(claims)
        self.behind: dict[str, frozenset[Result]] = {}
        self.recorded: dict[str, tuple[Result, ...]] = {}

    def read(self, source: str) -> dict[str, tuple[Result, ...]]:
        """The claims that the next cell records, each with the results it comes from."""
        self.recorded = {}
        self.run(ast.parse(source).body, set())
        return self.recorded

    def run(self, statements: list[ast.stmt], around: set[str]) -> None:
        """Go through statements; ``around`` are the claims that a loop around them names."""
        for statement in statements:
            parts = [getattr(statement, name, []) for name in ("body", "orelse", "finalbody")]
            if not any(parts) or isinstance(statement, ast.FunctionDef):
                self.step(statement, around)
                continue
            inner = [node for part in parts for node in part]
            head = [node for node in ast.iter_child_nodes(statement) if node not in inner]
            used = frozenset().union(*(self.used(node) for node in head))
            for node in head:
                self.store(node, used)
            inside = around.union(*(texts(node) & self.claims for node in head))
            for part in parts:
                self.run(part, inside)

    def step(self, statement: ast.stmt, around: set[str]) -> None:
        """Go through one statement without others in it."""
        used = self.used(statement)
        if any(calls(statement, "claims", RECORDERS)):
            for claim in (texts(statement) & self.claims) or around:
                before = self.recorded.get(claim, ())
                self.recorded[claim] = tuple(sorted(used.union(before)))
        if isinstance(statement, ast.FunctionDef):
            self.behind[statement.name] = used
        elif not (isinstance(statement, ast.Assign) and self.one_by_one(statement)):
            self.store(statement, used)

    def store(self, tree: ast.AST, used: frozenset[Result]) -> None:
        """Note what is behind the names that a piece of code gives."""
        own = own_names(tree)
        for node in ast.walk(tree):
            given = isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
            if given and node.id not in own:
                self.behind[node.id] = used

    def one_by_one(self, statement: ast.Assign) -> bool:
        """Give ``a, b = (results.load("e", cell) for cell in ("x", "y"))`` one cell each."""
        target, value = statement.targets[0], statement.value
        if not isinstance(target, ast.Tuple) or not isinstance(value, ast.GeneratorExp):
            return False
        over, (load, *_) = value.generators[0].iter, (*calls(value, "results", {"load"}), None)
        if load is None or not isinstance(over, ast.Tuple) or len(over.elts) != len(target.elts):
            return False
        for name, cell in zip(target.elts, over.elts, strict=True):
            self.behind[name.id] = frozenset({(load.args[0].value, cell.value)})
        return True

    def used(self, tree: ast.AST) -> frozenset[Result]:
        """The results that a piece of code loads, or uses by a name."""
        found: set[Result] = set()
        own = own_names(tree)
        adds = isinstance(tree, ast.AugAssign)
        for node in ast.walk(tree):
            taken = isinstance(node, ast.Name) and (adds or isinstance(node.ctx, ast.Load))
            if taken and node.id not in own:
                found |= self.behind.get(node.id, frozenset())
        for call in calls(tree, "results", {"load"}):
            named = [arg.value if isinstance(arg, ast.Constant) else None for arg in call.args]
            experiment, cell = (*named, None, None)[:2]
            if experiment and cell:
                found.add((experiment, cell))
                continue
            pairs = [pair for pair in self.results if experiment in (None, pair[0])]
            told = [pair for pair in pairs if pair[1] in texts(tree)]
            found |= set(told or pairs)
        return frozenset(found)
