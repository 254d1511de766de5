"""The book's own extension of Sphinx: what ties pages, ledger and library together.

One domain (`domain`) knows what stands on which page and resolves every link. Directives and
roles read the ledger and the other records of the staged tree (`ledger`, `figures`,
`chapter`, `coverage`, `graph`) or the library (`reference`) and are typeset from templates
(`typeset`, `numbers`). `page` sees to what the theme leaves undone. Whatever names something
that is not there is a warning, and the book is built with warnings as errors.
"""

from . import chapter, coverage, domain, figures, graph, ledger, page, reference
from .typeset import close_element, element, open_element

ROLES = {
    "claim": ledger.ClaimRole,
    "measured": ledger.MeasuredRole,
    "covered": coverage.CoveredRole,
}
DIRECTIVES = {
    "ledger": ledger.LedgerDirective,
    "scorecard": ledger.ScorecardDirective,
    "sensitivity": ledger.SensitivityDirective,
    "verdict-list": ledger.VerdictListDirective,
    "nc-figure": figures.FigureDirective,
    "question": chapter.QuestionDirective,
    "verdicts": chapter.VerdictsDirective,
    "symbols": chapter.SymbolsDirective,
    "coverage": coverage.CoverageDirective,
    "coverage-count": coverage.CountDirective,
    "coverage-gaps": coverage.GapsDirective,
    "claim-graph": graph.GraphDirective,
    "claim-legend": graph.LegendDirective,
    "api-module": reference.RoomDirective,
    "api-index": reference.IndexDirective,
    "api-experiments": reference.ExperimentsDirective,
}


def outdated(app, env, added, changed, removed):
    """The generated tables link to every page: write them again when any page changes."""
    pages = env.get_domain("nc").pages.items()
    generated = {name for name, said in pages if said.generated}
    return sorted(generated - removed) if added or changed or removed else []


def setup(app):
    """Register everything."""
    app.add_domain(domain.Book)
    app.add_node(element, html=(open_element, close_element))
    for name, role in ROLES.items():
        app.add_role(name, role())
    for name, directive in DIRECTIVES.items():
        app.add_directive(name, directive)
    # OWNER/NAME on GitHub; a setting of the book, though the pipeline reads it.
    app.add_config_value("nc_repository", "", "env", types=[str])
    # Whether each page of notebooks/ has to be a chapter, and to have a lesson.
    app.add_config_value("nc_chapters", True, "env", types=[bool])
    app.add_config_value("nc_lessons", True, "env", types=[bool])
    app.connect("env-get-outdated", outdated)
    page.setup(app)
    return {"parallel_read_safe": True, "parallel_write_safe": True, "env_version": 2}
