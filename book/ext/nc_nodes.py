"""The pieces of a page that more than one directive builds."""

from docutils import nodes
from nc_data import RELATIONS, VERDICTS, Ledger, plain_number, slug, split_number
from sphinx.addnodes import download_reference
from sphinx.util import logging

logger = logging.getLogger(__name__)


class element(nodes.General, nodes.TextElement):
    """One HTML element with any attribute; other builders see its content only."""


def make(tag: str, *children, classes=(), ids=(), **attributes) -> element:
    """An element; strings among the children become text, ``data_label`` is ``data-label``."""
    node = element("", "", classes=list(classes), ids=list(ids))
    node["tag"] = tag
    node["attributes"] = {key.replace("_", "-"): value for key, value in attributes.items()}
    node += [nodes.Text(child) if isinstance(child, str) else child for child in children]
    return node


def open_element(self, node):
    """Write the start tag."""
    self.body.append(self.starttag(node, node["tag"], "", **node["attributes"]))


def close_element(self, node):
    """Write the end tag."""
    self.body.append(f"</{node['tag']}>")


def ignore(self, node):
    """Do nothing: the children write themselves."""


def number(value, digits: int = 3) -> list[nodes.Node]:
    """A number as text, the power of ten raised."""
    mantissa, power = split_number(value, digits)
    if power is None:
        return [nodes.Text(mantissa)]
    lead = f"{mantissa} × 10" if mantissa.strip("−") else f"{mantissa}10"
    return [nodes.Text(lead), nodes.superscript("", power)]


def condition(row: dict) -> list[nodes.Node]:
    """What the paper states, as ``= 0``, ``≥ 0.15`` or ``≤ 1``."""
    sign = RELATIONS.get(row["relation"], row["relation"])
    return [nodes.Text(f"{sign} "), *number(row["expected"], 6)]


def verdict_mark(verdict: str, classes=()) -> nodes.inline:
    """The word of a verdict; the style sheet puts its icon in front."""
    word, css = VERDICTS[verdict]
    return nodes.inline("", word, classes=["nc-verdict", css, *classes])


def badge(row: dict) -> nodes.reference:
    """The badge of a claim: its id and its verdict, linked to its row of the ledger."""
    statement = row["statement"].replace("$", "")
    node = nodes.reference(
        internal=True,
        nc_row=row["id"],
        reftitle=f"{row['verdict']}: {statement}",
        classes=["nc-badge", VERDICTS[row["verdict"]][1]],
    )
    node += nodes.inline("", row["id"], classes=["nc-badge-id"])
    node += nodes.Text(" ")
    node += verdict_mark(row["verdict"])
    return node


def placed_badge(env, row: dict) -> nodes.reference:
    """A badge in the text; the first of a page can be linked to from the ledger."""
    node = badge(row)
    places = env.nc_places.setdefault(row["id"], [])
    if env.docname not in places:
        places.append(env.docname)
        node["ids"].append(f"at-{slug(row['id'])}")
    return node


def find_row(env, claim: str, location) -> dict | None:
    """The row of a claim; a warning, which fails the build, where there is none."""
    ledger: Ledger = env.app.nc_ledger
    env.note_dependency(str(ledger.path))
    if claim not in ledger.rows:
        logger.warning("no claim %r in the ledger", claim, location=location, type="nc_book")
        return None
    return ledger.rows[claim]


def measured_number(row: dict, field: str, digits: int) -> nodes.reference:
    """A number of the ledger in the text, linked to its row."""
    value = row.get(field)
    what = f"{row['id']}, {field.replace('_', ' ')}"
    if value is None:
        text = f"{what}: none at this scale"
        content = [nodes.inline("", "—", classes=["nc-none"])]
    else:
        text = f"{what}: {plain_number(value, 8)}"
        content = number(value, digits)
    node = nodes.reference(internal=True, nc_row=row["id"], reftitle=text, classes=["nc-number"])
    node += content
    return node


def download(path: str, docname: str, word: str) -> nodes.Node:
    """A link to a file of the source tree that Sphinx copies, and checks."""
    node = download_reference(
        "", "", reftarget=path, refdoc=docname, reftype="download", refdomain="", refexplicit=True
    )
    node += nodes.inline("", word, classes=["nc-download"])
    return node
