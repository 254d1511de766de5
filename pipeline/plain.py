"""The text of a page for a notebook viewer, which knows no roles, directives and macros."""

import re
from collections.abc import Sequence
from pathlib import Path

import yaml

FIELDS = {"": "value", "control": "control_value"}
KINDS = {"nc-figure": "Figure"}

BOX = re.compile(
    r"^:::\{([\w:-]+)\} *([^\n]*)\n((?::[\w-]+:[^\n]*\n)*)(.*?)^:::$", re.MULTILINE | re.DOTALL
)


def surnames(author: str) -> str:
    """`Ada and Others` of a BibTeX author field, as a citation in the text names them."""
    names = [one.partition(",")[0].strip() for one in author.split(" and ")]
    names = [re.sub(r"[{}\\']", "", name) for name in names]
    return " and ".join(names) if len(names) < 3 else f"{names[0]} et al."


class Plain:
    """Turns the text of a page into Markdown that any notebook viewer shows."""

    def __init__(self, root: Path, ledger: Sequence[dict] = ()):
        """Read what roles refer to.

        Args:
            root: the project's folder.
            ledger: rows of the ledger; without them a badge is an id and a number is left out.
        """
        self.rows = {row["id"]: row for row in ledger}
        settings = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))
        config = settings["sphinx"]["config"]
        self.macros = config.get("mathjax3_config", {}).get("tex", {}).get("macros", {})
        references = root / "book" / "references.bib"
        bib = references.read_text(encoding="utf-8") if references.is_file() else ""
        self.works = {}
        for key, fields in re.findall(r"^@\w+\{([^,]+),(.*?)^\}", bib, re.MULTILINE | re.DOTALL):
            author = re.search(r"author\s*=\s*\{(.*)\}", fields)
            year = re.search(r"year\s*=\s*\{(\d+)\}", fields)
            if author and year:
                self.works[key] = (surnames(author[1]), year[1])

    def __call__(self, text: str) -> str:
        """The same text, without roles, directives, macros and links into the book."""
        text = BOX.sub(self._box, text)
        text = re.sub(r"\{([\w:]+)\}`([^`]*)`", self._role, text)
        text = re.sub(r"(?<!!)\[([^\]]+)\]\((?!https?:)[^)\s]*\)", r"\1", text)
        for name, body in self.macros.items():
            text = re.sub(rf"\\{name}(?![A-Za-z])", lambda _, body=body: body, text)
        return text

    def _box(self, found: re.Match) -> str:
        kind, title, _, body = found.groups()
        if not (title or body.strip()):
            return ""  # what the book fills in when it is made
        word = KINDS.get(kind, kind.rpartition(":")[2].capitalize())
        head = f"**{word}: {title}**" if title else f"**{word}**"
        lines = [head, "", *body.strip().splitlines()]
        return "\n".join(f"> {line}".rstrip() for line in lines)

    def _role(self, found: re.Match) -> str:
        role, content = found.groups()
        name = content.partition(" <")[0]
        if role == "claim":
            verdict = self.rows.get(content, {}).get("verdict", "to be judged")
            return f"[{content}: {verdict}]"
        if role == "measured":
            claim, _, field = content.partition(".")
            value = self.rows.get(claim, {}).get(FIELDS.get(field, field))
            return f"{value:.3g}" if isinstance(value, int | float) else "(see the ledger)"
        if role.startswith("cite"):
            works = [self.works.get(key.strip(), (key, "")) for key in content.split(",")]
            if role == "cite:t":
                return "; ".join(f"{who} ({year})" for who, year in works)
            return "(" + "; ".join(f"{who}, {year}" for who, year in works) + ")"
        return "the equation above" if role == "eq" else name
