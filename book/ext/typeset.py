"""From a template to nodes: what the directives put on a page is written as HTML with Jinja.

Three things in a template are more than HTML. An element with the attribute ``md`` holds
Markdown of one line. ``<a to="claim:P1-T41">`` is a reference that the domain resolves when
all pages are known. ``<a file="/figures/x.csv">`` offers a file of the source tree, which
Sphinx copies; once that is done, ``known`` says where to.
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
#: Between whose children white space is no text.
FRAMES = ("table", "thead", "tbody", "tr", "ul", "")


class element(nodes.General, nodes.TextElement):
    """One HTML element with any attribute."""


def open_element(self, node):
    """Write the start tag."""
    self.body.append(self.starttag(node, node["tag"], "", **node["attributes"]))


def close_element(self, node):
    """Write the end tag."""
    self.body.append(f"</{node['tag']}>")


def number(value, digits: int = 3) -> Markup:
    """A number as HTML, the power of ten raised."""
    mantissa, power = split_number(value, digits)
    if power is None:
        return Markup.escape(mantissa)
    lead = f"{mantissa} × 10" if mantissa.strip("−") else f"{mantissa}10"
    return Markup(f"{lead}<sup>{power}</sup>")


environment = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).with_name("templates")),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=jinja2.StrictUndefined,
)
environment.filters |= {"number": number, "plain": plain_number, "slug": slug}
environment.globals |= {"verdicts": VERDICTS, "relations": RELATIONS, "fields": FIELDS}
environment.globals |= {"distance": distance}


class Reader(HTMLParser):
    """Builds nodes from the HTML of one template."""

    def __init__(self, directive=None):
        """Markdown is parsed by ``directive``; without one there may be none."""
        super().__init__()
        self.directive = directive
        self.open: list[tuple[nodes.Element, str, bool]] = [(nodes.container(), "", False)]

    def handle_starttag(self, tag, attrs):
        """Begin an element: a link that waits, a download, a link, code, or any other."""
        given = {key: value or "" for key, value in attrs}
        markdown = given.pop("md", None) is not None
        looks, names = given.pop("class", "").split(), given.pop("id", "").split()
        if tag == "a" and "to" in given:
            node: nodes.Element = reference(*given.pop("to").split(":", 1))
        elif tag == "a" and "file" in given:
            known = {"filename": given["known"]} if "known" in given else {}
            words = {"reftype": "download", "refdomain": "", "refexplicit": True}
            node = addnodes.download_reference(reftarget=given["file"], **words, **known)
        elif tag == "a" and "download" not in given:
            node = nodes.reference(refuri=given["href"], internal="://" not in given["href"])
        elif tag == "code":
            node = nodes.literal()
        else:
            node = element(tag=tag, attributes=given)
        if "title" in given and not isinstance(node, element):
            node["reftitle"] = given["title"]
        node["classes"] += looks
        node["ids"] += names
        self.open.append((node, tag, markdown))

    def handle_endtag(self, tag):
        """Put a finished element into the one around it."""
        node, begun, _ = self.open.pop()
        if begun != tag:
            raise ValueError(f"a template closes {begun!r} with {tag!r}")
        if isinstance(node, addnodes.pending_xref | addnodes.download_reference):
            is_file = isinstance(node, addnodes.download_reference)
            content = nodes.inline("", "", *node.children, classes=["nc-download"] * is_file)
            node.children = []
            node += content
        self.open[-1][0].append(node)

    def handle_data(self, data):
        """Text, in which a line break is a space."""
        node, tag, markdown = self.open[-1]
        if data.strip() or tag not in FRAMES:
            text = re.sub(r"\s+", " ", data)
            node += self.directive.parse_inline(text)[0] if markdown else nodes.Text(text)


def reference(kind: str, target: str, *children) -> addnodes.pending_xref:
    """A reference that the domain resolves; its words are the one child that it has."""
    node = addnodes.pending_xref(refdomain="nc", reftype=kind, reftarget=target, refwarn=False)
    if children:
        node += nodes.inline("", "", *children)
    return node


def typeset(template: str, directive=None, **values) -> list[nodes.Node]:
    """The nodes at the top of a template.

    Args:
        template: its name without the ending, or its text.
        directive: the directive or role that asks; it parses what is Markdown.
        values: what the template names.
    """
    is_name = template.isidentifier()
    known = environment.get_template if is_name else environment.from_string
    reader = Reader(directive)
    reader.feed(known(f"{template}.html" if is_name else template).render(values).strip())
    reader.close()
    (top, _, _), *rest = reader.open
    if rest:
        raise ValueError(f"a template leaves {rest[-1][1]!r} open")
    return top.children
