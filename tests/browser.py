"""What the browser tests read off a page, all in one visit.

A page is opened once. It is looked at as it is, then as wide as a phone, and then by axe,
in the light and, where it is asked for, in the dark.
"""

import importlib.util
import json
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bs4 import BeautifulSoup

PHONE = {"width": 390, "height": 844, "deviceScaleFactor": 0, "mobile": True}

# What a page may have wrong. Runs in the page, after MathJax has finished.
LOOK = """
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

# On the phone: how much wider than the screen the page is, and which boxes scroll sideways
# though no key leads to them. The page may answer the new width in its next frame.
LOOK_ON_A_PHONE = """
const done = arguments[arguments.length - 1];
const later = then => requestAnimationFrame(() => requestAnimationFrame(then));
later(() => {
  const scrolls = box => box.scrollWidth > box.clientWidth + 1 && box.checkVisibility() &&
    /auto|scroll/.test(getComputedStyle(box).overflowX);
  const article = document.querySelector('article') ?? document.body;
  done({
    overhang: document.documentElement.scrollWidth - window.screen.width,
    unreachable: [...article.querySelectorAll('div, pre, table, figure, svg')]
      .filter(box => scrolls(box) && box.tabIndex < 0).map(box => box.outerHTML.slice(0, 120)),
  });
});
"""

# Axe reads every element many times, so it is given less to read. Formulas become a word:
# they are most of a page's elements, MathJax answers for them, and their colour is that of
# the text around. Contrast is measured once for each pair of ink and ground. What is folded
# is unfolded, and nothing moves, so that no colour is caught half-way.
PREPARE_FOR_AXE = """
const done = arguments[arguments.length - 1];
for (const formula of document.querySelectorAll('mjx-container')) formula.replaceWith('formula');
const still = document.createElement('style');
still.textContent = '* { transition: none !important; animation: none !important; }';
document.head.append(still);
for (const folded of document.querySelectorAll('details')) folded.open = true;
axe.configure({ rules: [{ id: 'color-contrast', selector: '[data-sample]' }] });
requestAnimationFrame(() => requestAnimationFrame(() => done()));
"""

ASK_AXE = """
const [theme, rules, done] = arguments;
document.documentElement.dataset.theme = theme;
document.querySelectorAll('[data-sample]').forEach(node => node.removeAttribute('data-sample'));
const grounds = new Map(), seen = new Set();
const ground = node => {
  if (!node) return '';
  if (!grounds.has(node)) {
    const style = getComputedStyle(node);
    const own = [style.backgroundColor, style.backgroundImage, style.opacity].join();
    const nothing = own === 'rgba(0, 0, 0, 0),none,1';
    grounds.set(node, ground(node.parentElement) + (nothing ? '' : `/${own}`));
  }
  return grounds.get(node);
};
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const node = walker.currentNode.parentElement;
  if (!walker.currentNode.data.trim() || !node.checkVisibility()) continue;
  const { color, fontSize, fontWeight } = getComputedStyle(node);
  const look = [ground(node), color, fontSize, fontWeight].join();
  if (!seen.has(look)) node.dataset.sample = '';
  seen.add(look);
}
const wanted = { runOnly: rules, resultTypes: ['violations'], preload: false, iframes: false };
axe.run(document, wanted).then(
  found => done(found.violations.filter(rule => rule.impact !== 'minor').flatMap(rule => {
    const fault = `${theme} ${rule.id} (${rule.impact})`;
    return rule.nodes.map(node => `${fault}: ${node.html.slice(0, 200)}`);
  })),
  problem => done([String(problem)]),
);
"""
RULES = {
    "light": {
        "type": "tag",
        "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"],
    },
    "dark": {"type": "rule", "values": ["color-contrast"]},  # all else is the same in the dark
}


def axe() -> str:
    """The script of axe, from the wheel that brings it; the wheel's Python is not imported."""
    package = importlib.util.find_spec("axe_playwright_python")
    return Path(package.origin).with_name("axe.min.js").read_text(encoding="utf-8")


def inspect(driver, address: str, *, themes: tuple[str, ...] = ("light",)) -> dict:
    """Open a page and report everything that is wrong with it."""
    for log in ("performance", "browser"):
        driver.get_log(log)  # forget what earlier pages did
    driver.get(address)
    found = driver.execute_async_script(LOOK)
    asked = requests(driver)
    found["asked"] = beyond_the_disk(asked)
    found["read"] = sizes(asked)
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
    try:
        found |= driver.execute_async_script(LOOK_ON_A_PHONE)
    finally:
        driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    driver.execute_script(axe())
    driver.execute_async_script(PREPARE_FOR_AXE)
    found["findings"] = []
    for theme in themes:
        found["findings"] += driver.execute_async_script(ASK_AXE, theme, RULES[theme])
    found["errors"] = [
        entry["message"] for entry in driver.get_log("browser") if entry["level"] == "SEVERE"
    ]
    return found


def requests(driver) -> list[str]:
    """Every address that the page has asked for."""
    urls = []
    for entry in driver.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            urls.append(message["params"]["request"]["url"])
    return urls


def beyond_the_disk(urls: list[str]) -> list[str]:
    """Those of the addresses that are not on this machine's disk."""
    here = ("file", "data", "blob", "about", "chrome")  # the last: the browser's own first page
    return [url for url in urls if urlsplit(url).scheme not in here]


def sizes(urls: list[str]) -> dict[str, int]:
    """The files among these addresses with their sizes in bytes, each once."""
    paths = {Path(unquote(urlsplit(url).path)) for url in urls if url.startswith("file:")}
    return {str(path): path.stat().st_size for path in sorted(paths) if path.is_file()}


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
