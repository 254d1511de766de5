"""From a template to nodes: what the directives put on a page is written as HTML with Jinja.

Three things in a template are more than HTML. An element with the attribute ``md`` holds
Markdown of one line, ``md="block"`` any Markdown. ``<a to="claim:P1-T41">`` is a reference
that the domain resolves when all pages are known. ``<a file="/figures/x.csv">`` offers a file
of the source tree, which Sphinx copies.
"""

import re
from html.parser import HTMLParser
from pathlib import Path

import jinja2
from docutils import nodes
from markupsafe import Markup
from sphinx import addnodes
from sphinx.util import logging

from .numbers import FIELDS, RELATIONS, VERDICTS, distance, plain_number, slug, split_number

logger = logging.getLogger(__name__)
TEMPLATES = Path(__file__).with_name("templates")
#: Between whose children white space is no text.
FRAMES = ("table", "thead", "tbody", "tr", "ul", "")


class element(nodes.General, nodes.TextElement):
    """One HTML element with any attribute; other builders see its content only."""


def open_element(self, node):
    """Write the start tag."""
    self.body.append(self.starttag(node, node["tag"], "", **node["attributes"]))


def close_element(self, node):
    """Write the end tag."""
    self.body.append(f"</{node['tag']}>")


def ignore(self, node):
    """Do nothing: the children write themselves."""


VISITORS = {"html": (open_element, close_element), "latex": (ignore,) * 2, "text": (ignore,) * 2}


def number(value, digits: int = 3) -> Markup:
    """A number as HTML, the power of ten raised."""
    mantissa, power = split_number(value, digits)
    if power is None:
        return Markup.escape(mantissa)
    lead = f"{mantissa} × 10" if mantissa.strip("−") else f"{mantissa}10"
    return Markup(f"{lead}<sup>{power}</sup>")


environment = jinja2.Environment(
    loader=jinja2.FileSystemLoader(TEMPLATES),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=jinja2.StrictUndefined,
)
environment.filters |= {"number": number, "plain": plain_number, "slug": slug}
environment.globals |= {
    "verdicts": VERDICTS,
    "relations": RELATIONS,
    "fields": FIELDS,
    "distance": distance,
}


class Reader(HTMLParser):
    """Builds nodes from the HTML of one template."""

    def __init__(self, directive=None):
        """Markdown is parsed by ``directive``; without one there may be none."""
        super().__init__()
        self.directive = directive
        self.open: list[tuple[nodes.Element, str, str | None]] = [(nodes.container(), "", None)]

    def handle_starttag(self, tag, attrs):
        """Begin an element."""
        given = {key: value or "" for key, value in attrs}
        markdown = given.pop("md", None)
        node = self.begin(tag, given)
        node["classes"] += given.pop("class", "").split()
        node["ids"] += given.pop("id", "").split()
        if isinstance(node, element):
            node["tag"], node["attributes"] = tag, given
        elif "title" in given:
            node["reftitle"] = given["title"]
        self.open.append((node, tag, "line" if markdown == "" else markdown))

    def begin(self, tag: str, given: dict[str, str]) -> nodes.Element:
        """The node of a start tag: a link that waits, a download, a link, or any element."""
        if tag == "a" and "to" in given:
            kind, _, target = given["to"].partition(":")
            return reference(kind, target, self.directive.env.docname)
        if tag == "a" and "file" in given:
            known = {"filename": given["known"]} if "known" in given else {}
            return addnodes.download_reference(
                reftarget=given["file"],
                reftype="download",
                refdomain="",
                refexplicit=True,
                refdoc=self.directive.env.docname if self.directive else "",
                **known,
            )
        if tag == "a" and "download" not in given:
            external = "://" in given["href"]
            return nodes.reference(refuri=given["href"], internal=not external)
        return nodes.literal() if tag == "code" else element()

    def handle_endtag(self, tag):
        """Put a finished element into the one around it."""
        node, begun, _ = self.open.pop()
        if begun != tag:
            raise ValueError(f"a template closes {begun!r} with {tag!r}")
        if isinstance(node, addnodes.pending_xref):
            content = nodes.inline("", "", *node.children)
            node.children = []
            node += content
        elif isinstance(node, addnodes.download_reference):
            node.children = [nodes.inline("", "", *node.children, classes=["nc-download"])]
            node.setup_child(node.children[0])
        self.open[-1][0].append(node)

    def handle_data(self, data):
        """Text, in which a line break is a space."""
        node, tag, markdown = self.open[-1]
        if markdown == "block":
            node += self.directive.parse_text_to_nodes(data.strip("\n"))
        elif data.strip() or tag not in FRAMES:
            text = re.sub(r"\s+", " ", data)
            node += self.directive.parse_inline(text)[0] if markdown else nodes.Text(text)


def reference(kind: str, target: str, docname: str, *children) -> addnodes.pending_xref:
    """A reference that the domain resolves."""
    node = addnodes.pending_xref(
        refdomain="nc", reftype=kind, reftarget=target, refdoc=docname, refwarn=False
    )
    if children:
        node += nodes.inline("", "", *children)
    return node


def typeset(template: str, directive=None, **values) -> list[nodes.Node]:
    """The nodes of a template.

    Args:
        template: its name without the ending, or its text where that has a tag in it.
        directive: the directive or role that asks; it parses what is Markdown.
        values: what the template names.

    Returns:
        The nodes at its top.
    """
    is_name = template.isidentifier()
    known = environment.get_template if is_name else environment.from_string
    text = known(f"{template}.html" if is_name else template).render(values)
    reader = Reader(directive)
    reader.feed(text.strip())
    reader.close()
    (top, _, _), *rest = reader.open
    if rest:
        raise ValueError(f"a template leaves {rest[-1][1]!r} open")
    return top.children
