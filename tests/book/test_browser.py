"""The smoke book in a real browser, opened from the disk as a reader would.

Needs `_build/smoke/html`, which `make test` builds first, and Chromium with its
driver. Without Chromium these tests are left out, with a line that says so,
except where CI is set: there they fail.
"""

import base64
import os
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from tests.browser import dead_links, inspect

CHROMIUM, DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")
MISSING = [str(path) for path in (CHROMIUM, DRIVER) if not path.exists()]
ADVICE = (
    f"no {' and no '.join(MISSING)}: on Debian, `apt-get install chromium chromium-driver` "
    "brings both"
)
# Pages that Sphinx and its extensions write beside those of the contents.
BESIDE = ("search", "genindex", "prf-prf", "404")
# One page of each kind is looked at in the dark too.
DARK = (
    "book/index",
    "book/ledger",
    "book/play",
    "book/api_measures",
    "notebooks/kothapalli2025/kernel_nc1",
)
BOOK = Path(__file__).resolve().parents[2] / "_build" / "smoke" / "html"

pytestmark = [pytest.mark.book, pytest.mark.browser]


class LeaveOut:
    """Takes the browser tests out of a run on a machine without Chromium."""

    def pytest_collection_modifyitems(self, config, items):
        out = [item for item in items if item.get_closest_marker("browser")]
        config.hook.pytest_deselected(items=out)
        items[:] = [item for item in items if item not in out]

    def pytest_report_collectionfinish(self):
        return f"browser tests left out: {ADVICE}"


def pytest_generate_tests(metafunc):
    """The one hook that pytest calls in a test module; it lets the others in."""
    plugins = metafunc.config.pluginmanager
    if MISSING and "CI" not in os.environ and not plugins.has_plugin("leave-out-browser"):
        plugins.register(LeaveOut(), "leave-out-browser")
    if "page" in metafunc.fixturenames:
        metafunc.parametrize("page", [*pages_of_the_contents(), *BESIDE])


def pages_of_the_contents() -> list[str]:
    """The book's pages by their names in the table of contents."""
    text = (Path(__file__).resolve().parents[2] / "_toc.yml").read_text(encoding="utf-8")
    return re.findall(r"(?:root|file): (\S+)", text)


@pytest.fixture(scope="session")
def chromium(tmp_path_factory):
    """A headless browser with a profile of its own; it is given its driver and fetches none."""
    if MISSING:
        pytest.fail(ADVICE)
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    profile = tmp_path_factory.mktemp("profile")
    for flag in (
        "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run "
        "--disable-background-networking --disable-component-update --disable-sync "
        f"--disable-dev-shm-usage --window-size=1400,1000 --user-data-dir={profile}"
    ).split():
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(str(DRIVER)))
    yield driver
    driver.quit()


@pytest.fixture(scope="session")
def book():
    """The folder of the built pages."""
    if not (BOOK / "index.html").is_file():
        pytest.fail("there is no smoke book: `make test` builds it before the tests")
    return BOOK


BROKEN = """<!doctype html><html><head><title>x</title>
<link rel="stylesheet" href="http://localhost:9/theme.css">
<style>html[data-theme="dark"] body {{ background: #111 }}
html[data-theme="dark"] .night {{ color: #333 }}</style>
<script>MathJax = {{}}; console.error("a complaint");</script>
<script defer src="{mathjax}"></script></head><body><article>
<p>A raw $x$ and \\[y\\].</p>
<div class="math">\\(\\frac{{1}}\\)</div><div class="math">\\(\\nosuchmacro\\)</div>
<div class="math">never set</div>
<img src="gone.png" width="10" height="10"><a href="gone.html">gone</a>
<a href="other.html#gone">gone</a><a href="#gone">gone</a><a href="other.html#there">alive</a>
<h1>One</h1><h4>Four</h4><p style="color: #bbb">pale</p><p class="night">dark</p>
<div class="box" style="overflow: auto; width: 9rem"><p style="width: 60rem">long</p></div>
<a href="other.html" style="outline: none">unmarked</a>
<div style="width: 3000px">wide</div>
</article></body></html>"""


@pytest.fixture(scope="session")
def broken(tmp_path_factory, book):
    """A page with one of every fault, to see that each is found."""
    folder = tmp_path_factory.mktemp("broken")
    mathjax = (book / "_static" / "mathjax" / "tex-chtml-full.js").as_uri()
    (folder / "page.html").write_text(BROKEN.format(mathjax=mathjax), encoding="utf-8")
    (folder / "other.html").write_text('<p id="there">A page.</p>', encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def faults(chromium, broken):
    """What the inspection says of the broken page."""
    return inspect(chromium, (broken / "page.html").as_uri(), themes=("light", "dark"))


@pytest.fixture(scope="session")
def inspected(chromium, book):
    """What the inspection says of a page of the book; each is opened once."""
    known = {}

    def look(page: str) -> dict:
        if page not in known:
            themes = ("light", "dark") if page in DARK else ("light",)
            known[page] = inspect(chromium, (book / f"{page}.html").as_uri(), themes=themes)
        return known[page]

    return look


def test_no_page_asks_the_network_for_anything(inspected, page):
    assert inspected(page)["asked"] == []


def test_a_request_to_a_server_would_be_seen(faults):
    assert "http://localhost:9/theme.css" in faults["asked"]


def test_every_formula_is_typeset(inspected, page):
    found = inspected(page)
    assert found["untypeset"] == []
    assert found["raw"] == []
    assert found["refused"] == []
    assert found["unknown"] == []


@pytest.mark.parametrize(
    "chapter", ["book/notation", "book/audit", "notebooks/kothapalli2025/kernel_nc1"]
)
def test_the_pages_of_mathematics_have_formulas(inspected, chapter):
    assert inspected(chapter)["formulas"] > 5


def test_a_formula_that_is_not_typeset_would_be_seen(faults):
    assert "never set" in faults["untypeset"]
    assert any("$x$" in text for text in faults["raw"])
    assert faults["refused"], "MathJax refuses a fraction without a denominator"
    assert any("nosuchmacro" in text for text in faults["unknown"])


def test_every_image_has_words_and_loads(inspected, page):
    assert inspected(page)["wordless"] == []
    assert inspected(page)["unloaded"] == []


def test_an_image_without_words_or_without_a_file_would_be_seen(faults):
    assert len(faults["wordless"]) == 1
    assert len(faults["unloaded"]) == 1


def test_no_page_complains_in_the_console(inspected, page):
    assert inspected(page)["errors"] == []


def test_a_complaint_in_the_console_would_be_seen(faults):
    assert any("a complaint" in message for message in faults["errors"])


def test_every_internal_link_is_alive(book):
    assert dead_links(book) == []


def test_a_dead_link_would_be_seen(broken):
    dead = {line.removeprefix("page.html: ") for line in dead_links(broken)}
    assert {"gone.html", "other.html#gone", "#gone", "gone.png"} <= dead
    assert "http://localhost:9/theme.css" in dead
    assert "other.html#there" not in dead


def hits(driver, book: Path, words: str) -> list[str]:
    driver.get(f"{(book / 'search.html').as_uri()}?q={words}")
    # Sphinx writes "Search finished" or, without a hit, that nothing matched.
    summary = "#search-results .search-summary, #search-results > p"
    WebDriverWait(driver, 20).until(
        lambda d: any(
            re.search(r"finished|did not match|found", node.text)
            for node in d.find_elements(By.CSS_SELECTOR, summary)
        )
    )
    return [a.text for a in driver.find_elements(By.CSS_SELECTOR, "#search-results li a")]


def test_the_search_finds_kernel(chromium, book):
    assert any("kernel" in title.lower() for title in hits(chromium, book, "kernel"))


def test_the_search_does_not_find_what_is_not_there(chromium, book):
    assert hits(chromium, book, "xylophone") == []


def theme(driver) -> str:
    return driver.execute_script("return document.documentElement.dataset.theme")


def colours(driver) -> tuple[str, list[bool], list[bool]]:
    """The page's ground, and which images of each kind are shown."""
    ground = driver.execute_script("return getComputedStyle(document.body).backgroundColor")
    shown = [
        [image.is_displayed() for image in driver.find_elements(By.CSS_SELECTOR, css)]
        for css in ("figure img.only-light", "figure img.only-dark")
    ]
    return ground, *shown


def switch_to(driver, wanted: str) -> None:
    for _ in range(3):  # the button goes round: as the system, light, dark
        if theme(driver) == wanted:
            return
        button = driver.find_element(By.CSS_SELECTOR, "button.theme-switch-button")
        driver.execute_script("arguments[0].click()", button)
    assert theme(driver) == wanted


def test_the_dark_page_shows_the_dark_figures_and_the_light_page_the_light_ones(chromium, book):
    chromium.get((book / "book" / "index.html").as_uri())
    switch_to(chromium, "light")
    light = colours(chromium)
    switch_to(chromium, "dark")
    dark = colours(chromium)
    switch_to(chromium, "light")
    assert light[0] != dark[0]
    assert light[1] == [True] * len(light[1]) != []
    assert light[2] == [False] * len(light[2])
    assert dark[1:] == (light[2], light[1])


def test_a_badge_leads_to_its_row_and_the_row_back(chromium, book):
    chromium.get((book / "book" / "audit.html").as_uri())
    badge = chromium.find_element(By.CSS_SELECTOR, "a.nc-badge")
    name = badge.find_element(By.CSS_SELECTOR, ".nc-badge-id").text
    chromium.get(badge.get_attribute("href"))
    row = chromium.find_element(By.CSS_SELECTOR, "tr:target")
    assert row.find_element(By.CSS_SELECTOR, ".nc-id").text == name
    back = row.find_element(By.CSS_SELECTOR, "a").get_attribute("href")
    chromium.get(back)
    assert name in chromium.find_element(By.CSS_SELECTOR, ":target").text


def test_no_page_is_wider_than_a_phone(inspected, page):
    assert inspected(page)["overhang"] <= 0


def test_a_page_wider_than_a_phone_would_be_seen(faults):
    assert faults["overhang"] > 0


def test_axe_has_nothing_serious_to_say_of_any_page(inspected, page):
    assert inspected(page)["findings"] == []


def test_what_axe_is_there_to_find_would_be_found(faults):
    found = faults["findings"]
    assert any("light image-alt (critical)" in line and "gone.png" in line for line in found)
    assert any("light color-contrast (serious)" in line and "pale" in line for line in found)
    assert any("light heading-order" in line and "Four" in line for line in found)
    assert any("dark color-contrast" in line and "night" in line for line in found)
    assert not any("light color-contrast" in line and "night" in line for line in found)


def test_every_box_that_scrolls_can_be_reached_with_the_keyboard(inspected, page):
    assert inspected(page)["unreachable"] == []


def test_a_box_out_of_reach_would_be_seen(faults):
    assert any('class="box"' in box for box in faults["unreachable"])


def tabbed(driver, times: int) -> list[tuple[str, bool]]:
    """What the Tab key leads to from the top of a page, and whether one sees where one is."""
    stops = []
    for _ in range(times):
        driver.switch_to.active_element.send_keys(Keys.TAB)
        stops.append(
            driver.execute_script(
                "const here = document.activeElement, style = getComputedStyle(here);"
                "const name = here.getAttribute('aria-label') || here.textContent.trim();"
                "return [name, style.outlineStyle !== 'none' || style.boxShadow !== 'none']"
            )
        )
    return [tuple(stop) for stop in stops]


def test_the_keyboard_leads_past_the_contents_and_shows_where_it_is(chromium, book):
    chromium.get((book / "book" / "index.html").as_uri())
    stops = tabbed(chromium, 12)
    assert stops[0][0] == "Skip to main content"
    assert [name for name, seen in stops if not seen] == []
    assert len({name for name, _ in stops}) > 8


def test_a_link_that_hides_that_it_is_reached_would_be_seen(chromium, broken):
    chromium.get((broken / "page.html").as_uri())
    assert ("unmarked", False) in tabbed(chromium, 12)


def test_the_first_page_reads_less_than_a_megabyte(inspected):
    read = inspected("book/index")["read"]
    assert sum(read.values()) < 1_000_000, sorted(read.items(), key=lambda file: -file[1])[:8]
    assert len(read) > 10


def test_a_heavy_page_would_be_noticed(faults):
    assert sum(faults["read"].values()) > 1_000_000, "MathJax alone is more"


def test_the_browser_draws_a_picture_of_the_first_page(chromium, book):
    chromium.get((book / "index.html").as_uri())
    WebDriverWait(chromium, 10).until(lambda d: d.title.startswith("Neural collapse"))
    png = base64.b64decode(chromium.get_screenshot_as_base64())
    assert len(png) > 20_000, "a blank page is far smaller"


@pytest.fixture
def served(book):
    """The book on a server, below a folder, as a project's pages are; 404.html for the lost."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked = book / urlsplit(self.path).path.removeprefix("/somebody/project/")
            found = asked.is_file()
            self.send_response(200 if found else 404)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write((asked if found else book / "404.html").read_bytes())

        do_HEAD = do_GET

        def log_message(self, *words):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/somebody/project/"
        server.shutdown()


@pytest.mark.parametrize(
    "address", ["kernel_nc1", "a/b/kernel_nc1.html", "notebooks/old/kernel-nc1.html"]
)
def test_a_lost_reader_is_led_back_from_any_depth(chromium, book, served, address):
    chromium.get(served + address)
    assert chromium.title == "No such page"

    def links():
        return [a.get_attribute("href") for a in chromium.find_elements(By.CSS_SELECTOR, "main a")]

    guess = f"{served}notebooks/kothapalli2025/kernel_nc1.html"
    WebDriverWait(chromium, 10).until(lambda _: links()[0] == guess)
    assert chromium.find_element(By.ID, "guess").is_displayed()
    assert all((book / link.removeprefix(served)).is_file() for link in links())


def test_a_name_that_no_page_has_is_not_guessed(chromium, served):
    chromium.get(f"{served}a/nothing.html")
    assert chromium.title == "No such page"
    assert not chromium.find_element(By.ID, "guess").is_displayed()


def test_a_redirect_takes_the_reader_and_the_anchor_along(chromium, book):
    chromium.get(f"{(book / 'ledger.html').as_uri()}#claim-p1-t41")
    WebDriverWait(chromium, 10).until(lambda d: "/book/ledger.html" in d.current_url)
    assert chromium.current_url.endswith("/book/ledger.html#claim-p1-t41")
