"""Docstrings as MyST Markdown: labels in bold, arguments as lists, formulas as they are."""

import re

# "Args:", "Args, Raises: as for `f`.", a line in the first column of a docstring.
LABEL = re.compile(
    r"^(Args|Attributes|Kinds|Raises|Returns|Source|Notes)((?:, (?:Args|Raises|Returns|Source))*):"
    r"[ ]?(.*)$"
)
ITEM = re.compile(r'^("?[\w*.,^ \-]+?"?|[A-Z]\w*(?:, [A-Z]\w*)*):(?: +|$)(.*)$')


def split_sections(doc: str) -> list[tuple[str | None, str]]:
    """The parts of a docstring: (None, prose) and (label, text), in their order."""
    parts: list[tuple[str | None, list[str]]] = [(None, [])]
    before = ""
    for line in doc.splitlines():
        label, lines = parts[-1]
        if found := LABEL.match(line):
            parts.append((found[1] + found[2], [found[3]] if found[3] else []))
        elif label and line and not line.startswith(" ") and not before.strip():
            parts.append((None, [line]))
        else:
            lines.append(line)
        before = line
    return [(label, "\n".join(lines)) for label, lines in parts if "".join(lines).strip()]


def dedent_after_first(text: str) -> str:
    """Without the indent that all lines share, whatever that of the first line is."""
    lines = text.splitlines()
    if len(lines) == 1:
        return text.strip()
    indents = [len(line) - len(line.lstrip()) for line in lines if line.strip()]
    if indents[0] == 0 and len(indents) > 1:
        cut = min(indents[1:])
        return "\n".join([lines[0], *(line[cut:] for line in lines[1:])])
    return "\n".join(line[min(indents) :] for line in lines)


def items(text: str) -> list[tuple[str, str]] | None:
    """The items of a labelled part, `name: text` each; None where it is prose."""
    found: list[list[str]] = []
    for line in dedent_after_first(text).splitlines():
        if line and not line.startswith(" "):
            if not (match := ITEM.match(line)):
                return None
            found.append([match[1], match[2]])
        elif found:
            found[-1].append(line)
        elif line.strip():
            return None
    return [(name, "\n".join(rest)) for name, *rest in found] or None


def prose(text: str) -> str:
    """Paragraphs on one line each, displayed formulas on lines of their own."""
    blocks = []
    for piece in re.split(r"(\$\$.+?\$\$[.,;:]?)", dedent_after_first(text), flags=re.DOTALL):
        if piece.startswith("$$"):
            inner, _, mark = piece[2:].rpartition("$$")
            lines = [line.strip() for line in inner.splitlines() if line.strip()]
            blocks.append("\n".join(["$$", *lines[:-1], lines[-1] + mark, "$$"]))
        else:
            blocks += [" ".join(part.split()) for part in re.split(r"\n\s*\n", piece)]
    return "\n\n".join(block for block in blocks if block)


def indented(text: str, by: str = "  ") -> str:
    """The lines of a list item, all but the first moved in."""
    return text.replace("\n", f"\n{by}")


def markdown(doc: str) -> str:
    """A docstring as MyST Markdown: labels in bold, items as a list."""
    blocks = []
    for label, text in split_sections(doc):
        if label is None:
            blocks.append(prose(text))
        elif found := items(text):
            lines = [f"- `{name}`: {indented(prose(rest))}" for name, rest in found]
            blocks.append(f"**{label}**\n\n" + "\n".join(lines))
        else:
            blocks.append(f"**{label}.** {prose(text)}")
    return "\n\n".join(blocks)
