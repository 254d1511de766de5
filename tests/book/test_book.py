"""The book's extension, on a tree of three small pages."""

import re
import time

import pytest
import yaml

from book.ext import numbers
from ncutils.records import claims
from tests.book.tree import (
    ROOT,
    ROWS,
    build,
    html,
    read,
    row,
    squeeze,
    write_ledger,
    write_tree,
)


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    folder = write_tree(tmp_path_factory.mktemp("book") / "source")
    done = build(folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """One tree with every mistake that a page can make."""
    chapter = (
        "# A chapter\n\n{claim}`P9-X` {measured}`P1-A.colour` {measured}`P9-Y`\n\n"
        ":::{nc-figure} fig-two\nA figure that was not drawn.\n:::\n\n"
        ":::{nc-figure} fig-one\nA figure without words for it.\n:::\n\n"
        ":::{nc-figure} fig-three\n:claims: P9-Z\n:::\n"
    )
    folder = write_tree(tmp_path_factory.mktemp("broken") / "source", chapter=chapter, alt="  ")
    figure = (folder / "figures" / "fig-one.json").read_text(encoding="utf-8")
    described = figure.replace('"  "', '"A line."')
    (folder / "figures" / "fig-three.json").write_text(described, encoding="utf-8")
    (folder / "ledger.md").write_text("# L\n\n```{ledger}\n:paper: P7\n```\n", encoding="utf-8")
    (folder / "pages" / "one2020" / "chapter.json").unlink()
    return build(folder)


@pytest.mark.parametrize(
    ("value", "digits", "written"),
    [
        (0.123456, 3, "0.123"),
        (-2.0683, 3, "−2.07"),
        (0.3, 3, "0.3"),
        (0.0, 3, "0"),
        (400, 3, "400"),
        (-12.0, 3, "−12"),
        (1234.5678, 3, "1230"),
        (3.25e-13, 3, "3.25e−13"),
        (1e-10, 6, "1e−10"),
        (-1e-10, 6, "−1e−10"),
        (6.02e23, 3, "6.02e23"),
        (0.09996, 3, "0.1"),
        (None, 3, "—"),
        (float("nan"), 3, "not a number"),
        (float("-inf"), 3, "−∞"),
        (True, 3, "yes"),
    ],
)
def test_numbers_are_written_to_sensible_digits(value, digits, written):
    assert numbers.plain_number(value, digits) == written


def test_a_number_rounded_to_too_few_digits_would_be_noticed():
    assert numbers.plain_number(0.123456, 3) != numbers.plain_number(0.123456, 4)


@pytest.mark.parametrize(
    ("seconds", "written"),
    [(None, None), (0.42, "0.4 s"), (59.4, "59 s"), (72.4, "1 min 12 s"), ("7810", "2 h 10 min")],
)
def test_durations_are_written_in_the_unit_a_reader_expects(seconds, written):
    assert numbers.duration(seconds) == written


@pytest.mark.parametrize(
    ("seeds", "written"),
    [
        (None, None),
        ([], None),
        (0, "seed 0"),
        ([4], "seed 4"),
        ([0, 1, 2, 3], "seeds 0–3"),
        ([1, 4, 7], "seeds 1, 4, 7"),
        ([0, 1], "seeds 0, 1"),
        ("(2, 0, 1)", "seeds 0–2"),
        ("7", "seed 7"),
        ("none", None),
    ],
)
def test_seeds_in_a_row_are_written_as_a_range_and_others_are_not(seeds, written):
    assert numbers.seed_words(seeds) == written


def test_every_verdict_has_a_word_and_a_colour_and_no_other_has():
    assert tuple(numbers.VERDICTS) == claims.VERDICTS
    style = (ROOT / "book" / "assets" / "nc.css").read_text(encoding="utf-8")
    for _, css in numbers.VERDICTS.values():
        assert re.search(rf"^\.{css} {{.*--nc-icon: url", style, re.M), css
    assert not re.search(r"^\.nc-perhaps {", style, re.M)


def test_every_suffix_of_measured_names_a_field_of_the_ledger():
    fields = set(claims.Claim.__dataclass_fields__) | set(ROWS[0])
    assert {field for field, _ in numbers.FIELDS.values()} <= fields
    assert "colour" not in numbers.FIELDS


def test_a_badge_says_its_verdict_in_words_and_leads_to_its_row(book):
    badge = read(book, "notebooks/one2020/chapter.html").select("a.nc-badge")[0]
    assert squeeze(badge) == "P1-A holds"
    assert "nc-holds" in badge["class"]
    assert badge["href"] == "../../ledger.html#claim-p1-a"
    target = read(book, "ledger.html").find(id="claim-p1-a")
    assert target.name == "tr"
    assert target.select_one(".nc-id").get_text() == "P1-A"


def test_only_the_first_badge_of_a_page_is_a_place_to_return_to(book):
    page = read(book, "notebooks/one2020/chapter.html")
    marks = [node.get("id") for node in page.select("a.nc-badge")]
    assert marks == ["at-p1-a", None, None, "at-p1-b"]


def test_a_row_leads_back_to_the_badge_on_its_page(book):
    page = read(book, "ledger.html")
    links = [a["href"] for a in page.find(id="claim-p1-a").select("a")]
    assert links[0] == "notebooks/one2020/chapter.html#at-p1-a"
    # A claim without a badge leads to its page; one without a page leads nowhere.
    links = [a["href"] for a in page.find(id="claim-p1-c").select("a")]
    assert links == ["notebooks/one2020/chapter.html"]
    assert not page.find(id="claim-p2-a").select("a")
    assert "elsewhere" in page.find(id="claim-p2-a").get_text()


def test_a_number_in_the_text_is_the_ledgers_and_leads_to_its_row(book):
    numbers = read(book, "index.html").select("a.nc-number")
    assert [squeeze(node) for node in numbers] == ["3.25 × 10 −13", "0.441", "—"]
    assert [node["href"] for node in numbers] == [
        "ledger.html#claim-p1-a",
        "ledger.html#claim-p1-a",
        "ledger.html#claim-p1-c",
    ]
    assert numbers[0]["title"] == "P1-A, value: 3.25e−13"
    assert numbers[2]["title"] == "P1-C, value: none at this scale"


def test_a_figure_has_two_images_with_the_same_words_for_who_cannot_see_them(book):
    figure = read(book, "notebooks/one2020/chapter.html").find("figure", id="fig-one")
    images = figure.select("img")
    assert [image["alt"] for image in images] == ["A line.", "A line."]
    assert ["only-light" in image["class"] for image in images] == [True, False]
    assert "only-dark" in images[1]["class"]
    for image in images:
        assert (html(book) / "notebooks" / "one2020" / image["src"]).is_file()


def test_a_figure_is_numbered_and_can_be_referred_to(book):
    page = read(book, "notebooks/one2020/chapter.html")
    assert squeeze(page.select_one("figure .caption-number")) == "Fig. 1"
    assert page.find("a", href="#fig-one", class_="reference").get_text() == "Fig. 1"
    assert page.select_one("figure .legend > p").get_text() == "A second paragraph."


def test_a_figure_says_how_it_was_made_and_offers_its_data(book):
    line = read(book, "notebooks/one2020/chapter.html").select_one("figure .nc-provenance")
    words = squeeze(line)
    assert words.startswith("Drawn at smoke scale on a cpu · seeds 0–2 · commit abc1234")
    assert "None" not in words
    links = {squeeze(a): a["href"] for a in line.select("a")}
    assert list(links) == ["data as netCDF", "SVG", "PNG"]  # this one has no CSV
    for href in links.values():
        assert (html(book) / "notebooks" / "one2020" / href).is_file()


def test_the_ledger_shows_what_was_stated_measured_and_would_have_failed(book):
    page = read(book, "ledger.html")
    cells = [squeeze(cell) for cell in page.find(id="claim-p1-b").select("td")]
    assert cells[0] == "= 0 tolerance 10 −10 decidable at smoke"
    assert cells[1] == "1.5 ± 0.25 n = 10, smoke scale"
    assert cells[2] == "0.441 labels shuffled"
    assert cells[3].startswith("fails because 1.5 beyond the threshold")
    assert cells[3].endswith("half the tolerance: fails; double: holds")
    head = page.find(id="claim-p1-b").th
    assert "Identity · in A chapter" in squeeze(head)
    assert squeeze(head).endswith("Rests on P1-A")
    assert [a["href"] for a in head.select("a")][-1] == "#claim-p1-a"
    assert head.select_one(".math"), "the statement's formula is typeset"
    assert squeeze(page.find(id="claim-p1-c").select("td")[1]) == "—"


def test_the_scorecard_counts_every_claim_once(book):
    table = read(book, "index.html").select_one("table.nc-scorecard")
    counts = {
        squeeze(line.th): [int(cell.get_text()) for cell in line.select("td")]
        for line in table.select("tbody tr")
    }
    assert counts == {"P1": [1, 0, 1, 1, 0], "P2": [0, 1, 0, 0, 0], "All": [1, 1, 1, 1, 0]}
    assert sum(counts["All"]) == len(ROWS)
    links = [a["href"] for a in table.select("a")]
    assert links == ["ledger.html#ledger-one2020", "ledger.html#ledger-two2021"]
    assert read(book, "ledger.html").find(id="ledger-two2021")


@pytest.mark.parametrize(
    ("page", "words"),
    [
        ("index.html", "Built at smoke scale · commit abc1234 · 22 November 2026"),
        ("ledger.html", "Built at smoke scale · commit abc1234 · 22 November 2026"),
        (
            "notebooks/one2020/chapter.html",
            "Computed at smoke scale on a cpu · 1 min 12 s · peak memory 512 MiB · seed 7"
            " · commit abc1234 · 22 November 2026",
        ),
    ],
)
def test_every_page_says_under_its_heading_how_it_was_made(book, page, words):
    line = read(book, page).h1.find_next_sibling()
    assert line["class"] == ["nc-page-line"]
    assert squeeze(line) == words


def test_formulas_are_set_by_the_books_own_mathjax(book):
    page = read(book, "notebooks/one2020/chapter.html")
    sources = [script["src"] for script in page.select("script[src]")]
    assert any(source.split("?")[0].endswith("mathjax/tex-chtml-full.js") for source in sources)
    assert not [source for source in sources if "//" in source]
    folder = html(book) / "_static" / "mathjax"
    assert (folder / "tex-chtml-full.js").is_file()
    assert list((folder / "output/chtml/fonts/woff-v2").glob("*.woff"))
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 2.5e6


@pytest.mark.parametrize(
    "warning",
    [
        "no claim 'P9-X' in the ledger",
        "no claim 'P9-Y' in the ledger",
        "no paper 'P7'; there are one2020, two2021",
        "measured has no suffix 'colour'; it knows value, control",
        "no figure 'fig-two': there is no figures/fig-two.json",
        "figure 'fig-one' has no text for readers who do not see it",
        "figure 'fig-three' needs a caption",
        "no claim 'P9-Z' in the ledger",
        "there is no pages/one2020/chapter.json",
    ],
)
def test_what_is_not_there_stops_the_build(broken, warning):
    assert broken.returncode == 1
    assert f"WARNING: {warning}" in broken.stderr


def test_a_book_without_a_ledger_stops_the_build(tmp_path):
    folder = write_tree(tmp_path / "source")
    (folder / "ledger.json").unlink()
    done = build(folder)
    assert done.returncode == 1
    assert "there is no ledger.json" in done.stderr


def test_a_changed_verdict_reaches_pages_that_were_built_before(tmp_path):
    folder = write_tree(tmp_path / "source")
    assert build(folder).returncode == 0
    time.sleep(0.02)  # Sphinx compares the files' times
    write_ledger(folder, [row("P1-A", "fails"), *ROWS[1:]], commit="def5678")
    assert build(folder).returncode == 0
    badge = read(folder, "notebooks/one2020/chapter.html").select_one("a.nc-badge")
    assert squeeze(badge) == "P1-A fails"
    assert "def5678" in read(folder, "index.html").select_one(".nc-page-line").get_text()


def test_the_settings_keep_clear_of_the_known_traps():
    settings = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    config = settings["sphinx"]["config"]
    assert settings["execute"]["execute_notebooks"] == "off", "quoted: YAML's off is false"
    assert settings["only_build_toc_files"] is True
    assert "html_theme_options" not in config, "it would replace Jupyter Book's own"
    assert "sphinx_exercise" not in settings["sphinx"]["extra_extensions"]
    assert not (ROOT / "_static").exists()
    assert not (ROOT / "book" / "_static").exists()
    for name in config["html_css_files"]:
        assert (ROOT / config["html_static_path"][0] / name).is_file()


def test_every_page_of_the_contents_has_a_source():
    contents = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    pages = [contents["root"]]
    for part in contents["parts"]:
        for chapter in part["chapters"]:
            pages += [chapter["file"], *(page["file"] for page in chapter.get("sections", ()))]
    assert len(pages) == len(set(pages))
    prose = sorted(f"book/{path.stem}" for path in (ROOT / "book").glob("*.md"))
    assert sorted(page for page in pages if page.startswith("book/")) == prose


def test_the_bibliography_has_no_key_twice():
    text = (ROOT / "book" / "references.bib").read_text(encoding="utf-8")
    keys = re.findall(r"^@\w+\{([^,]+),", text, re.M)
    assert len(keys) == len(set(keys)) > 3
    assert {"kothapalli2025", "seleznova2023", "beaglehole2024"} <= set(keys)


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize(
    ("theme", "page"), [("light", "#ffffff"), ("dark", "#121212")], ids=["light", "dark"]
)
def test_every_colour_of_text_can_be_read_on_the_page_and_in_a_box(theme, page):
    style = (ROOT / "book" / "assets" / "nc.css").read_text(encoding="utf-8")
    block = re.search(rf'html\[data-theme="{theme}"\] {{(.*?)\n}}', style, re.S)[1]
    colours = dict(re.findall(r"--(nc-[a-z]+): (#[0-9a-f]{6});", block))
    inks = {"nc-accent", "nc-quiet", "nc-holds", "nc-deviates", "nc-fails", "nc-undecided"}
    assert inks <= set(colours)
    for ink in inks:
        for ground in (page, colours["nc-wash"]):
            assert contrast(colours[ink], ground) >= 4.5, (ink, ground)
    assert contrast(colours["nc-rule"], page) < 4.5, "a hairline is not text: the test can fail"


def test_the_licence_and_the_citation_agree_with_the_package():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    package = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f'version = "{citation["version"]}"' in package
    assert citation["license"] == "MIT"
    assert (ROOT / "LICENSE").read_text(encoding="utf-8").startswith("MIT License")
    assert f"## {citation['version']}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_extension_is_found_where_the_settings_say():
    settings = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    (found,) = settings["sphinx"]["local_extensions"].items()
    assert found == ("ext", "book")
    assert (ROOT / "book" / "ext" / "__init__.py").is_file()
    for kind in ("rediraffe_redirects", "rediraffe_template"):
        assert (ROOT / settings["sphinx"]["config"][kind]).is_file()


def test_the_extension_names_no_paper():
    for path in [*(ROOT / "book" / "ext").rglob("*.py"), *(ROOT / "book" / "ext").rglob("*.html")]:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"kothapalli|seleznova|beaglehole", text), path
        words = re.sub(r"P1-T41[.\w]*", "", text)  # a claim, in an example
        assert not re.search(r"\bP[123]\b", words), path
