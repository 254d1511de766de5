"""The smoke book in a real browser, opened from the disk as a reader would.

Needs `_build/smoke/html`, which `make test` builds first, and Chromium with its
driver. Without Chromium these tests are left out, with a line that says so,
except where CI is set: there they fail.
"""

import base64
import json
import os
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from bs4 import BeautifulSoup
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

CHROMIUM, DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")
MISSING = [str(path) for path in (CHROMIUM, DRIVER) if not path.exists()]
ADVICE = (
    f"no {' and no '.join(MISSING)}: on Debian, `apt-get install chromium chromium-driver` "
    "brings both"
)
BOOK = Path(__file__).resolve().parents[1] / "_build" / "smoke" / "html"

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
        metafunc.parametrize("page", pages_of_the_contents())


def pages_of_the_contents() -> list[str]:
    """The book's pages by their names in the table of contents."""
    text = (Path(__file__).resolve().parents[1] / "_toc.yml").read_text(encoding="utf-8")
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


# What a page may have wrong. Runs in the page, after MathJax has finished.
INSPECT = """
const done = arguments[arguments.length - 1];
const ready = window.MathJax?.startup?.promise ?? Promise.resolve();
ready.then(() => {
  const article = document.querySelector('article') ?? document.body;
  const words = [], apart = 'code, pre, script, style, mjx-container';
  const walker = document.createTreeWalker(article, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode;
    if (!text.parentElement.closest(apart)) words.push(text.data);
  }
  const shown = image => image.offsetParent !== null;
  done({
    formulas: article.querySelectorAll('mjx-container').length,
    untypeset: [...article.querySelectorAll('.math')]
      .filter(node => !node.querySelector('mjx-container')).map(node => node.textContent),
    raw: words.filter(text => /\\$|\\\\\\(|\\\\\\[|\\\\begin\\{/.test(text)),
    refused: [...article.querySelectorAll('mjx-merror, [data-mjx-error]')].map(n => n.textContent),
    unknown: [...article.querySelectorAll('mjx-assistive-mml mtext[mathcolor="red"]')]
      .map(node => node.textContent),
    wordless: [...document.images].filter(image => !image.alt.trim()).map(image => image.src),
    unloaded: [...document.images].filter(image => shown(image) && !image.naturalWidth)
      .map(image => image.src),
  });
});
"""


def inspect(driver, address: str) -> dict:
    """Open a page and report everything that is wrong with it."""
    for log in ("performance", "browser"):
        driver.get_log(log)  # forget what earlier pages did
    driver.get(address)
    found = driver.execute_async_script(INSPECT)
    found["asked"] = requests(driver)
    found["errors"] = [
        entry["message"] for entry in driver.get_log("browser") if entry["level"] == "SEVERE"
    ]
    return found


def requests(driver) -> list[str]:
    """Addresses beyond this machine's disk that the page has asked for."""
    urls = []
    for entry in driver.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            urls.append(message["params"]["request"]["url"])
    here = ("file", "data", "blob", "about", "chrome")  # the last: the browser's own first page
    return [url for url in urls if urlsplit(url).scheme not in here]


def dead_links(folder: Path) -> list[str]:
    """Every `href` and `src` in a folder of pages that leads nowhere on the disk.

    A link into a page must also meet an element of that name. Web addresses are left
    alone in links; a page must not load from one.
    """
    paths = [path for path in folder.rglob("*.html") if "_static" not in path.parts]
    pages = {path: BeautifulSoup(path.read_bytes(), "html.parser") for path in paths}
    names = {path: {tag["id"] for tag in page.select("[id]")} for path, page in pages.items()}
    dead = []
    for path, page in pages.items():
        for tag in page.select("[href], [src]"):
            address = tag.get("href") or tag.get("src") or ""
            parts = urlsplit(address)
            where = f"{path.relative_to(folder)}: {address}"
            if parts.scheme or parts.netloc:
                loads = tag.name != "a" and not (tag.name == "link" and "canonical" in tag["rel"])
                dead += [where] if loads and parts.scheme != "data" else []
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            name = unquote(parts.fragment)
            if not target.is_file() or (name and name not in names.get(target, {name})):
                dead.append(where)
    return dead


BROKEN = """<!doctype html><html><head><title>x</title>
<link rel="stylesheet" href="http://localhost:9/theme.css">
<script>MathJax = {{}}; console.error("a complaint");</script>
<script defer src="{mathjax}"></script></head><body><article>
<p>A raw $x$ and \\[y\\].</p>
<div class="math">\\(\\frac{{1}}\\)</div><div class="math">\\(\\nosuchmacro\\)</div>
<div class="math">never set</div>
<img src="gone.png" width="10" height="10"><a href="gone.html">gone</a>
<a href="other.html#gone">gone</a><a href="#gone">gone</a><a href="other.html#there">alive</a>
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
    return inspect(chromium, (broken / "page.html").as_uri())


@pytest.fixture(scope="session")
def inspected(chromium, book):
    """What the inspection says of a page of the book; each is opened once."""
    known = {}

    def look(page: str) -> dict:
        if page not in known:
            known[page] = inspect(chromium, (book / f"{page}.html").as_uri())
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


@pytest.mark.parametrize("chapter", ["book/notation", "book/audit", "notebooks/kernel_nc1"])
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


@pytest.fixture
def phone(chromium):
    """The same browser, as wide as a phone."""
    size = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
    chromium.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    yield chromium
    chromium.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def overhang(driver, address: str) -> int:
    """By how many pixels a page is wider than the screen."""
    driver.get(address)
    driver.execute_async_script(INSPECT)
    return driver.execute_script(
        "const page = document.documentElement; return page.scrollWidth - window.screen.width"
    )


def test_no_page_is_wider_than_a_phone(phone, book, page):
    assert overhang(phone, (book / f"{page}.html").as_uri()) <= 0


def test_a_page_wider_than_a_phone_would_be_seen(phone, broken):
    assert overhang(phone, (broken / "page.html").as_uri()) > 0


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

    guess = f"{served}notebooks/kernel_nc1.html"
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
