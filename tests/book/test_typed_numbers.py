"""No page carries a number that the ledger or a result file should supply.

What is measured reaches a page by a role or by a picture. A number that was typed is a
setting, a number of a paper, a threshold, or it is derived on the page; each of them stands
in `typed_numbers.yml`, with the reason. The rule, in the words of `QUANTITY`: a decimal, a
power of ten, a percentage, a multiple ("ten times", "a factor of three", "tenfold"), orders
of magnitude, decades or digits, a part ("a fifth", "more than half"), a time or an amount of
memory, and any number after a verb of measuring ("reaches 12"). It looks at the prose of all
pages and at the words that stand for pictures. It does not look at headings, code, formulas
that stand apart, roles, addresses, the papers' own numbering, or the log of changes.
Whole numbers elsewhere pass: a test cannot tell three seeds that were chosen from three
that were found.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
ALLOWED = Path(__file__).with_name("typed_numbers.yml")
#: Why a number may be typed.
REASONS = ("setting", "paper", "threshold", "derived", "convention")
#: Its entries speak of versions, and of what once was.
LEFT_OUT = {"changelog"}

WORD = (
    "two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|fifteen|twenty|thirty|forty|fifty"
    "|(?:a |one )?(?:hundred|thousand|million)|several|(?:a )?few|dozens?|hundreds|thousands"
)
COUNT = rf"(?:\d[\d,.]*|{WORD})"
PART = "third|quarter|fifth|sixth|seventh|eighth|ninth|tenth|twelfth|twentieth|hundredth|thousandth"
END = r"(?=[.,;:)]|\s(?:of|to|as|at|and|or|in|on|for|above|below|wide|less|more|than)\b|$)"
VERB = (
    "reach(?:es|ed)?|measures?d?|finds?|found|falls?|fell|rises?|rose|drops?|dropped|ends?|ended"
    "|correlations?|accuracy|differs? by|grows?|grew|shrinks?|shrank"
)
QUANTITY = re.compile(
    "|".join(
        (
            r"\d+\.\d+",
            r"10\^\{?-?\d+|\d(?:\.\d+)?e-?\d+",
            rf"{COUNT} ?\\?,?\\?%|\b(?:{COUNT} )?per ?cents?\b",
            rf"\b{COUNT}(?: and a half)? times\b|\b(?:twice|thrice|half) as\b",
            r"\b(?:two|three|five|ten|hundred|several-?)fold\b",
            rf"\bfactors? (?:of )?(?:about |more than |at least |nearly )?{COUNT}",
            rf"\borders? of magnitude\b|\b(?:{COUNT}|a) (?:decades?|digits down)\b",
            rf"\b(?:an?|one|two|three|four|nine) (?:good )?(?:half|halves|{PART}s?){END}",
            r"(?<!first )(?<!second )(?<!other )\bhalf of\b|\bmore than half\b",
            rf"\b{COUNT} (?:s|seconds?|minutes?|hours?|ms|[GMk]i?B)\b",
            rf"\b(?:{VERB}) (?:(?:by|to|at|of|from|up to) )?(?:(?:about|only|nearly) )?\$?-?\d",
        )
    ),
    re.IGNORECASE,
)

#: Directives whose content is not prose.
NOT_PROSE = {"math", "code", "code-block", "code-cell", "mermaid"}

#: What is not prose within it, and what stands in its place. In this order.
STRIPPED = (
    (r"\$\$.*?\$\$(?: \([\w-]+\))?", " "),
    (r"^\s*#+ .*?$|^\s*:[\w-]+:.*?$|^\([\w:-]+\)=$", " "),  # headings, options, targets
    (r"\{[\w:+-]+\}`[^`]*`", " ◆ "),
    (r"`[^`]*`", " "),
    (r"<(script|style|svg|form)\b.*?</\1>|<!--.*?-->", " "),
    (r"<img\b[^>]*\balt=\"([^\"]*)\"[^>]*>", r" \1 "),
    (r"<[a-zA-Z/][^>]*>", " "),
    (r"\]\([^)]*\)|https?://\S+|arXiv:\S+", "] "),
    (
        r"\b(?:Theorems?|Lemmas?|Propositions?|Definitions?|Assumptions?|Sections?|Algorithms?"
        r"|Ansatz|Tables?|Equations?|Appendix|Figs?\.?|Figures?|Remarks?|Corollary|licence"
        r"|version|Python)\s[A-Z]?\.?\d+(?:\.\d+)*(?: (?:and|to) \d+(?:\.\d+)?)?",
        " ",
    ),
)


def unfenced(markdown: str) -> str:
    """A page without its code blocks and without the frames of its directives."""
    kept: list[str] = []
    fences: list[tuple[str, bool]] = []  # the fences that are open, and whether prose is inside
    for line in markdown.splitlines():
        fence = re.match(r"\s*(`{3,}|~{3,}|:{3,})\s*(\{([\w:-]+)\})?(.*)$", line)
        if fence and fences and not fence[2] and not fence[4] and line.strip() == fences[-1][0]:
            fences.pop()
        elif fence and all(inside for _, inside in fences):
            fences.append((fence[1], fence[2] is not None and fence[3] not in NOT_PROSE))
            kept.append(fence[4] if fence[2] else "")
        elif all(inside for _, inside in fences):
            kept.append(line)
    return "\n".join(kept)


def prose(markdown: str) -> str:
    """The sentences of a page in one line."""
    text = unfenced(markdown)
    for pattern, instead in STRIPPED:
        text = re.sub(pattern, instead, text, flags=re.M | re.S)
    return " ".join(text.split())


def pictures(code: str) -> Iterator[str]:
    """The words that stand for the pictures a notebook saves; what is computed in them is ◆."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.keyword) and node.arg == "alt":
            parts = node.value.values if isinstance(node.value, ast.JoinedStr) else [node.value]
            yield "".join(p.value if isinstance(p, ast.Constant) else "◆" for p in parts)


def sentences(path: Path) -> str:
    """Everything on a page that the rule looks at."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        return prose(text)
    cells = re.split(r"^# %%.*$", text, flags=re.M)
    heads = re.findall(r"^# %%.*$", text, flags=re.M)
    said = [
        prose(re.sub(r"^# ?", "", cell, flags=re.M))
        for head, cell in zip(heads, cells[1:], strict=True)
        if "[markdown]" in head
    ]
    return " ".join([*said, *pictures(text)])


def pages() -> list[Path]:
    found = [*(ROOT / "notebooks").glob("*/*.py"), *(ROOT / "book").glob("*.md")]
    return sorted(path for path in found if path.stem not in LEFT_OUT)


def typed(text: str, allowed: dict[str, str]) -> list[str]:
    """Each quantity of a page that no allowed piece of text covers, with its surroundings."""
    covered = [match.span() for piece in allowed for match in re.finditer(re.escape(piece), text)]
    return [
        text[max(0, hit.start() - 50) : hit.end() + 30]
        for hit in QUANTITY.finditer(text)
        if not any(start <= hit.start() and hit.end() <= end for start, end in covered)
    ]


@pytest.fixture(scope="module")
def allowed() -> dict[str, dict[str, str]]:
    return yaml.load(ALLOWED.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)


@pytest.mark.parametrize("path", pages(), ids=lambda path: path.stem)
def test_no_page_carries_a_number_that_was_measured_and_typed(path, allowed):
    found = typed(sentences(path), allowed.get(path.stem, {}))
    assert not found, (
        f"give these to a role ({{measured}}`ID`), or to {ALLOWED.name} with a reason: {found}"
    )


def test_a_measured_number_that_is_typed_is_found(tmp_path, allowed):
    for planted in (
        "The rank correlation is -0.87 over all runs.",
        "NC1 ends at 3e-4 on these digits.",
        "NC1 falls to $2 \\cdot 10^{-5}$ in the last layer.",
        "It is right for 93 % of the digits, in some 40 percent of the runs.",
        "The second version is three times faster.",
        "With depth it falls by a factor of twelve.",
        "The two differ by two orders of magnitude.",
        "It leaves a tenth of the variance.",
        "More than half of the networks collapse.",
        "The run took 12 seconds.",
        "The search finds 17 of them.",
    ):
        page = tmp_path / "page.md"
        page.write_text(f"# A page with 0.5\n\n{planted}\n", encoding="utf-8")
        assert typed(sentences(page), {}), planted
        clean = {piece: why for pieces in allowed.values() for piece, why in pieces.items()}
        assert typed(sentences(page), clean), planted


def test_what_is_not_typed_or_not_measured_passes(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "# Section 0.5\n\nThe worst is {measured}`P1-T41`, by Theorem 5.1 and Fig. 2.3. There are "
        "three seeds and 500 digits.\n\n$$\nx = 0.25\n$$\n\n```python\nx = 0.125\n```\n\n"
        "```{note}\n:width: 0.5\n\n`0.75` is [code](page-0.5.html).\n```\n\nThe third one.\n",
        encoding="utf-8",
    )
    assert typed(sentences(page), {}) == []
    inside = page.read_text(encoding="utf-8").replace("is [code]", "0.3 is [code]")
    page.write_text(inside, encoding="utf-8")
    assert len(typed(sentences(page), {})) == 1, "the content of a directive is prose"


def test_the_words_for_a_picture_are_looked_at(tmp_path):
    page = tmp_path / "page.py"
    head = "# %% [markdown]\n# Some words.\n\n# %%\nx = 0.5  # a setting\n"
    page.write_text(head + 'figures.save(fig, "f", alt=f"It ends at {x:.1f}, near " "one.")\n')
    assert typed(sentences(page), {}) == []
    page.write_text(head + 'figures.save(fig, "f", alt="It ends near " "0.4.")\n')
    assert typed(sentences(page), {}) == ["Some words. It ends near 0.4."]


def test_every_exception_has_a_reason_and_is_still_needed(allowed):
    known = {path.stem: path for path in pages()}
    for page, pieces in allowed.items():
        text = sentences(known[page])
        for piece, why in pieces.items():
            kind, _, reason = why.partition(": ")
            assert kind in REASONS, (page, piece, why)
            assert reason.strip(), (page, piece)
            assert piece in text, f"{piece!r} is not on the page {page} any more"
            rest = {other: why for other, why in pieces.items() if other != piece}
            assert typed(text, rest), f"{piece!r} of {page} needs no exception"


if __name__ == "__main__":
    for path in pages():
        for hit in typed(sentences(path), {}):
            print(path.stem, "|", hit)
