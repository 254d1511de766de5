"""The frame of the chapters, their lessons, the pages for readers, and old addresses."""

import json
import re

import pytest
import yaml

from book.ext import chapter, coverage
from ncutils.experiments import cases
from ncutils.records import claims, papers
from tests.book import tree
from tests.book.tree import (
    PAPERS,
    RECORD,
    ROOT,
    ROWS,
    build,
    code,
    html,
    notebook,
    read,
    row,
    squeeze,
    write,
    write_ledger,
)

BOOK = ROOT / "book"
PAGES = sorted(path.relative_to(ROOT / "notebooks") for path in ROOT.glob("notebooks/*/*.py"))

INDEX = """# A book

```{toctree}
notebooks/one2020/chapter
notebooks/lost2022/bare
ledger
book/notation
```

```{verdict-list}
:verdict: fails
```

```{verdict-list}
:verdict: not computable here
```

```{coverage-gaps} not done
```
"""

NOTATION = r"""# Notation

## Common

| Symbol | Meaning | In code |
|---|---|---|
| $d_0,\ d_1$ | input dimension, hidden units | `X.shape[1]` |
| $\alpha$ | a weight | |

## P1: the first

| Symbol | Meaning |
|---|---|
| $\alpha$ | a weight of the first paper |

## P2: the second

| Symbol | Meaning |
|---|---|
| $\beta$ | a bias |
"""

CHAPTER = """# A chapter

:::{question}
Does $x$ do what it should?
:::

First words, with $x + d_1 y$ and $\\alpha = 1$.

:::{symbols}
$d_1$, $\\alpha$
:::

## Verdicts

```{verdicts}
```
"""

BARE = "# A chapter of no claim\n\nIt asks nothing.\n"

BROKEN = """# A chapter

Words before the question, with $x$.

:::{question}
Too late?
:::

:::{symbols}
$d_1$, $\\gamma$
:::
"""


LESSON = code("from ncutils import metrics\nmetrics.nc1", "lesson")


def lists(missing: str = "Not drawn.") -> dict[str, dict]:
    """Lists of coverage in which all figures are missing and one theorem is there."""
    found = {}
    for key, paper in PAPERS.items():
        items = [
            {
                "number": f"Fig. {k}",
                "what": "a picture",
                "missing": "It is *lost*." if k == 3 else missing,
            }
            for k in range(1, paper["figures"] + 1)
        ]
        if key == "one2020":
            items.append({"number": "Theorem 4.1", "what": "it"})
        found[f"claims/{key}.yml"] = {"paper": paper, "coverage": items}
    return found


def write_tree(folder, *, chapter=CHAPTER, index=INDEX, cells=(LESSON,), **options):
    """The small book of whole chapters, with a notation and lists of coverage."""
    tree.write_tree(folder, chapter=chapter, index=index, cells=cells, chapters=True, **options)
    write(folder, {"book/notation.md": NOTATION, **lists()})
    return folder


def without_bare(text: str) -> str:
    return text.replace("notebooks/lost2022/bare\n", "")


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    folder = tmp_path_factory.mktemp("chapters") / "source"
    done = build(write_tree(folder, index=without_bare(INDEX)))
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """One tree with every mistake."""
    index = INDEX.replace(":verdict: fails", ":verdict: perhaps")
    index = index.replace("{coverage-gaps} not done", "{coverage-gaps} lost")
    folder = tmp_path_factory.mktemp("broken") / "source"
    hidden = code("metrics.nc1", "lesson", "hide-input")
    redirects = "old nowhere\nledger book/notation\n"
    write_tree(folder, chapter=BROKEN, index=index, redirects=redirects, cells=[hidden])
    bare = notebook(f"{BARE}\n```{{verdicts}}\n```\n", LESSON)
    write(folder, {"notebooks/lost2022/bare.ipynb": bare, "pages/lost2022/bare.json": RECORD})
    write(
        folder, {"notebooks/one2020/third.ipynb": notebook(f"---\norphan: 1\n---\n{BARE}", LESSON)}
    )
    write(folder, {"pages/one2020/third.json": RECORD})
    write_ledger(folder, [*ROWS, row("P1-Z", "holds", paper="lost2022")])
    return build(folder)


def test_a_chapter_opens_with_its_question(book):
    page = read(book, "notebooks/one2020/chapter.html")
    line = page.h1.find_next_sibling()
    box = line.find_next_sibling()
    assert line["class"] == ["nc-page-line"]
    assert box["class"] == ["nc-question"]
    assert squeeze(box).startswith("The question Does")
    assert box.select(".math"), "formulas in it are set"


def test_a_chapter_closes_with_the_verdicts_of_its_claims(book):
    table = read(book, "notebooks/one2020/chapter.html").select_one("table.nc-verdicts")
    assert [squeeze(cell) for cell in table.select("tbody th")] == [
        "P1-A holds",
        "P1-B fails",
        "P1-C not decided",
    ]
    assert squeeze(table.caption) == (
        "3 claims, judged at smoke scale: 1 holds , 1 fails , 1 not decided ."
    )
    assert [a["href"] for a in table.select("tbody a")] == [
        f"../../ledger.html#claim-p1-{name}" for name in "abc"
    ]
    assert "Theorem 4.1" in squeeze(table.tbody)
    roles = {(tag.name, tag["role"]) for tag in table.select("[role]")}
    assert {("tr", "row"), ("td", "cell"), ("th", "rowheader"), ("th", "columnheader")} <= roles


def test_a_claim_without_another_badge_is_met_in_that_table(book):
    assert read(book, "notebooks/one2020/chapter.html").find(id="at-p1-a").name == "a"
    back = read(book, "ledger.html").find(id="claim-p1-a").select("a")
    assert "notebooks/one2020/chapter.html#at-p1-a" in [a["href"] for a in back]


def test_a_list_has_the_claims_of_one_verdict_and_no_other(book):
    tables = read(book, "index.html").select("table.nc-verdicts")
    assert len(tables) == 1, "and none where there are none"
    assert [squeeze(cell) for cell in tables[0].select("tbody th")] == ["P1-B fails"]
    text = squeeze(tables[0].tbody)
    assert "1.5 stated = 0" in text
    assert "because" in text
    assert "A chapter" in text, "the chapter by its title"
    assert "At smoke scale there is none." in read(book, "index.html").get_text()


def test_what_is_missing_is_listed_by_reason(book):
    lines = read(book, "index.html").select("table.nc-gaps tbody tr")
    told = {squeeze(line.th): squeeze(line.td) for line in lines}
    assert told["P1, Figs 4–13"] == "Not drawn."
    assert told["P2, Fig. 3"] == "It is lost ."
    assert not [name for name in told if "Theorem" in name]


@pytest.mark.parametrize(
    ("numbers", "short"),
    [
        (["Fig. 6"], "Fig. 6"),
        (["Fig. 6", "Fig. 7", "Fig. 8"], "Figs 6–8"),
        (["Fig. 6", "Fig. 8"], "Fig. 6, Fig. 8"),
        (["Lemma C.1", "Lemma C.2"], "Lemma C.1, Lemma C.2"),
        (["Remark 1", "Remark 2"], "Remarks 1–2"),
    ],
)
def test_numbers_in_a_row_are_written_as_a_range(numbers, short):
    assert coverage.joined(numbers) == short


def test_symbols_lead_to_their_rows_of_the_notation(book):
    links = read(book, "notebooks/one2020/chapter.html").select(".nc-symbols a")
    assert [a["title"] for a in links] == [
        "input dimension, hidden units",
        "a weight of the first paper",
    ]
    for link in links:
        page, _, mark = link["href"].partition("#")
        assert page == "../../book/notation.html"
        assert read(book, "book/notation.html").find(id=mark).name == "tr"


def test_symbols_are_compared_by_their_tokens():
    assert chapter.plain(r"\bar Q_{cc'}") == chapter.plain(r"\bar  Q_{ c c' }")
    assert chapter.symbols(r"d_0,\ d_1") == ["d _ 0", "d _ 1"]
    assert chapter.symbols("(N, d_0)") == ["( N , d _ 0 )"]
    assert chapter.plain(r"\E") != chapter.plain("E")


@pytest.mark.parametrize(
    "warning",
    [
        "chapter.ipynb: WARNING: a chapter opens with its question",
        "third.ipynb: WARNING: a chapter opens with its question",
        "the page belongs to no paper: write claims/lost2022.yml, or move",
        "no claim of the ledger belongs to the page 'lost2022/bare'",
        "claim P1-Z is of the paper 'lost2022', which has no file: write claims/lost2022.yml",
        'notebooks/one2020/chapter.py has no lesson: write a visible cell tagged "lesson"',
        "no verdict 'perhaps'; there are holds, holds with deviation, fails",
        "no state 'lost'; there are done, in part, not done",
        "the symbol d _ 1 is in no formula of the page",
        r"0 rows of the notation have the symbol \gamma",
        "old.html redirects to nowhere.html but",
        "ledger.html redirects to book/notation.html but",
    ],
)
def test_what_is_not_as_it_should_be_stops_the_build(broken, warning):
    assert broken.returncode == 1
    assert warning in broken.stderr


def test_a_chapter_without_verdicts_stops_the_build(tmp_path):
    text = CHAPTER.replace("```{verdicts}\n```\n", "They are missing.\n")
    done = build(write_tree(tmp_path / "source", chapter=text, index=without_bare(INDEX)))
    assert done.returncode == 1
    assert "a chapter closes with its verdicts" in done.stderr


def test_a_page_without_a_visible_lesson_stops_the_build_unless_that_is_switched_off(tmp_path):
    folder = write_tree(tmp_path / "source", index=without_bare(INDEX), cells=())
    done = build(folder)
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    assert "notebooks/one2020/chapter.py has no lesson: write a visible cell" in line
    conf = (folder / "conf.py").read_text(encoding="utf-8")
    write(folder, {"conf.py": conf.replace("nc_lessons = True", "nc_lessons = False")})
    assert build(folder).returncode == 0


@pytest.mark.parametrize("tag", sorted(chapter.HIDDEN))
def test_a_lesson_that_is_folded_away_is_none(tag):
    assert chapter.has_lesson(notebook("", LESSON))
    assert not chapter.has_lesson(notebook("", code("metrics.nc1", "lesson", tag)))
    assert not chapter.has_lesson(notebook("", code("metrics.nc1")))


def test_a_redirect_leads_to_its_page(book):
    page = read(book, "old.html")
    assert page.select_one("meta[http-equiv=refresh]")["content"] == "0; url=ledger.html"
    assert (html(book) / page.a["href"]).is_file()
    assert page.html["lang"] == "en"
    assert page.title.get_text()


def test_a_redirect_from_below_the_root_leads_up_and_keeps_the_place_on_the_page(tmp_path):
    redirects = "notebooks/chapter notebooks/one2020/chapter\nold/deep/l ledger\n"
    folder = write_tree(tmp_path / "source", index=without_bare(INDEX), redirects=redirects)
    assert build(folder).returncode == 0
    assert read(folder, "notebooks/chapter.html").a["href"] == "one2020/chapter.html"
    page = read(folder, "old/deep/l.html")
    assert page.a["href"] == "../../ledger.html"
    assert "location.hash" in page.script.string


def test_the_page_for_lost_readers_stands_by_itself(book):
    page = read(book, "404.html")
    assert not page.select("link[href], script[src], img, iframe")
    assert all((html(book) / a["href"]).suffix == ".html" for a in page.select("a"))
    known = json.loads(re.search(r"const pages = (\{.*\});", page.script.string)[1])
    assert known["chapter"] == ["notebooks/one2020/chapter.html", "A chapter"]
    for address, _ in known.values():
        assert (html(book) / address).is_file()


def test_a_title_cannot_end_the_script_of_that_page(tmp_path):
    folder = write_tree(
        tmp_path / "source",
        index=without_bare(INDEX).replace("# A book", r"# A \</script\> book"),
    )
    assert build(folder).returncode == 0
    (script,) = read(folder, "404.html").select("script")
    assert "point(here)" in script.string
    assert "book" in json.loads(re.search(r"const pages = (\{.*\});", script.string)[1])["index"][1]


# --- the book's own pages ------------------------------------------------------


def pages_of_the_contents() -> set[str]:
    return set(re.findall(r"(?:root|file): (\S+)", (ROOT / "_toc.yml").read_text()))


def text_of(page: str) -> str:
    return (BOOK / f"{page}.md").read_text(encoding="utf-8")


def wrong_redirects(text: str, pages: set[str]) -> list[str]:
    """Lines that lead nowhere, hide a page, or lie outside the book."""
    lines = [line.split() for line in text.splitlines() if line and line[0] != "#"]
    return [
        f"{old} {new}"
        for old, new in lines
        if new not in pages or old in pages or old.startswith(("/", "..")) or "." in old
    ]


def test_every_redirect_leads_to_a_page_of_the_book():
    text = (BOOK / "redirects.txt").read_text(encoding="utf-8")
    assert wrong_redirects(text, pages_of_the_contents()) == []
    bad = "../up book/ledger\na book/gone\nbook/index book/ledger\na.html book/ledger\n"
    assert len(wrong_redirects(bad, pages_of_the_contents())) == 4


def test_the_pages_of_the_first_edition_lead_to_where_they_are_now():
    text = (BOOK / "redirects.txt").read_text(encoding="utf-8")
    old = dict(line.split() for line in text.splitlines() if line and line[0] != "#")
    pages = [
        "agop",
        "beyond_balance",
        "block_dynamics",
        "block_kernel",
        "cross_entropy",
        "deep_rfm",
        "deep_rfm_theory",
        "equations_of_state",
        "kernel_nc1",
        "limiting_kernels",
        "ntk_block_structure",
        "shallow_network",
        "weights_and_agop",
        "who_collapses",
    ]
    assert len(pages) == 14
    for page in pages:
        assert old[f"notebooks/{page}"].endswith(f"/{page}")
        assert (ROOT / f"{old[f'notebooks/{page}']}.py").is_file()


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_notebook_asks_and_answers(page):
    cells = (ROOT / "notebooks" / page).read_text(encoding="utf-8").split("# %%")
    assert re.match(r" \[markdown\]\n# # [^\n]+\n#\n# :::\{question\}\n", cells[1])
    assert ":::{symbols}" in cells[1]
    ends = [cell for cell in cells if "{verdicts}" in cell]
    assert len(ends) == 1
    assert re.search(r"^# ## Verdicts\n(?:.*\n)*# ```\{verdicts\}\n# ```$", ends[0], re.M)
    assert cells[1].count("{question}") == 1
    assert "{term}" in cells[1], "a word of the glossary"


def archived() -> dict[str, str]:
    ledger = json.loads((ROOT / "results" / "ledger.quick.json").read_text(encoding="utf-8"))
    return {one["id"]: one["verdict"] for one in ledger["rows"]}


def discussed(text: str, words: str) -> list[str]:
    """The claims that open a paragraph in the sections whose heading has these words."""
    sections = re.findall(rf"^## [^\n]*{words}[^\n]*\n(.*?)(?=^## |\Z)", text, re.M | re.S)
    return re.findall(r"^\{claim\}`([^`]+)` \*\*", "\n".join(sections), re.M)


def unexplained(text: str, verdicts: dict[str, str]) -> list[str]:
    """Claims that fail, or deviate, without a paragraph, and paragraphs that are out of date."""
    found = []
    for verdict, words in (("fails", "What fails"), ("holds with deviation", "with deviation")):
        told = discussed(text, words)
        expected = {name for name, given in verdicts.items() if given == verdict}
        found += [f"{name} {verdict} and has no paragraph" for name in expected - set(told)]
        found += [f"{name} no longer {verdict}" for name in set(told) - expected]
        found += [f"{name} has two paragraphs" for name in set(told) if told.count(name) > 1]
    return sorted(found)


def test_each_claim_that_fails_is_explained_and_no_other():
    assert unexplained(text_of("not_reproduced"), archived()) == []


def test_a_paragraph_that_is_missing_or_out_of_date_would_be_seen():
    text = text_of("not_reproduced")
    verdicts = archived()
    assert unexplained(text.replace("{claim}`P3-T53-PRINTED` **", "**"), verdicts) == [
        "P3-T53-PRINTED fails and has no paragraph"
    ]
    turned = {**verdicts, "P2-CE-BETTER": "holds", "P2-CE-ALIGN": "fails"}
    assert unexplained(text, turned) == [
        "P2-CE-ALIGN fails and has no paragraph",
        "P2-CE-ALIGN no longer holds with deviation",
        "P2-CE-BETTER no longer fails",
    ]


def test_the_worked_example_is_the_row_and_the_record_themselves():
    text = text_of("contribute")
    (shown,) = yaml.safe_load(re.search(r"```yaml\n(.*?)```", text, re.S)[1])
    home = claims.load()[shown["id"]]
    rows = papers.read(papers.claims_folder() / f"{home.paper}.yml")["claims"]
    assert shown in rows
    assert {**shown, "tolerance": 1.0} not in rows
    blocks = re.findall(r"```python\n(.*?)```", text, re.S)
    (record,) = [block for block in blocks if "judge(" in block]
    page = (ROOT / "notebooks" / f"{home.page}.py").read_text(encoding="utf-8")
    said = {line.strip().removesuffix(",") for line in page.splitlines()}
    assert set(record.splitlines()) <= said
    assert f"{record.splitlines()[-1]} + 1" not in said


COMMAND = re.compile(r"python -m ncutils\.experiments (\w+/\w+/\w+)")


@pytest.mark.parametrize("page", ["paths", "contribute"])
def test_every_command_that_a_page_names_exists(page):
    named = COMMAND.findall(text_of(page))
    assert named
    assert set(named) <= set(cases())
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    assert set(re.findall(r"^ *make (\w+)", text_of(page), re.M)) <= targets


def test_the_ways_through_the_book_name_sections_that_exist():
    """A section in italics behind a link to a page is a heading of that page."""
    named = 0
    links = re.findall(r"\[[^]]+\]\(\.\./(notebooks/\w+/\w+)\)([^\n]*)", text_of("paths"))
    for path, rest in links:
        source = (ROOT / f"{path}.py").read_text(encoding="utf-8")
        heads = re.findall(r"^# ##+ (.*)$", source, re.M)
        for words in re.findall(r"\*([A-Z][^*]+)\*", rest.split("](")[0]):
            assert any(head.startswith(words) for head in heads), (path, words)
            named += 1
    assert named > 3


def test_the_presets_that_the_ways_name_exist():
    buttons = set(re.findall(r"<button[^>]*>([^<]+)</button>", text_of("play")))
    named = re.search(r"\(play\): press (.*?)\. This", text_of("paths"))[1]
    presets = re.findall(r"\*([^*]+)\*", named)
    assert len(presets) > 1
    assert set(presets) <= buttons


def test_the_first_page_leads_on_and_stays_short():
    text = text_of("index")
    links = re.findall(r"\]\(([a-z_]+)", text) + re.findall(r":link: ([a-z_]+)", text)
    assert {"paths", "ledger", "coverage", "not_reproduced", "play", "audit"} <= set(links)
    assert len(text.split()) < 700
