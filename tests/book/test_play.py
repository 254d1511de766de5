"""The page "A kernel to play with", in a real browser, against the library.

The page solves the flow in nine numbers of its own; here the same start is built as
matrices, turned at random, and handed to `block_ntk.reduced_flow`.
"""

import dataclasses
import functools
import itertools
import json

import jax.numpy as jnp
import numpy as np
import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from ncutils import block_ntk, metrics
from tests.book.test_browser import (  # noqa: F401 - fixtures and a hook, used by name
    book,
    chromium,
    pytest_generate_tests,
    switch_to,
)
from tests.browser import LOOK, beyond_the_disk, requests

TIMES = 10 ** np.linspace(-3, 2, 251)  # what the page's time slider stands for
KEPT = np.r_[0.0, TIMES[::5]]  # one length of path, so that equal shapes compile once
SLIDERS = ("diag", "within", "across", "m", "C", "bias", "size")


@dataclasses.dataclass(frozen=True)
class Setting:
    """What the page's controls say."""

    diag: float = 1.0
    within: float = 0.6
    across: float = 0.1
    m: int = 10
    C: int = 3
    bias: float = 1.0
    size: float = 0.0
    place: str = "uneven"
    time: int = 250

    @property
    def kernel(self) -> block_ntk.BlockKernel:
        return block_ntk.BlockKernel(self.diag, self.within, self.across)


SETTINGS = {
    "as the page starts": Setting(),
    "on the way, no biases": Setting(across=0.4, bias=0.0, time=120),
    "uneven E": Setting(C=4, m=3, size=1.0, time=160),
    "even E, large biases": Setting(C=4, m=3, bias=1.6, size=1.5, place="even"),
    "unseen E": Setting(within=0.35, size=0.8, place="unseen", time=140),
}
pytestmark = [pytest.mark.book, pytest.mark.browser]
each = pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS)


def start(s: Setting):
    """The page's start as matrices W, H1, H2, b, in random bases, and E's norm."""
    single, class_, global_ = map(float, s.kernel.eigenvalues(s.m, s.C))
    rng = np.random.default_rng(0)
    frame = np.linalg.qr(rng.normal(size=(s.C + 3, s.C + 1)))[0]  # in feature space
    basis = np.linalg.qr(np.column_stack([np.ones(s.C), rng.normal(size=(s.C, s.C - 1))]))[0]
    basis[:, 0] = s.C**-0.5
    odd = np.arange(s.C - 1) % 2 == 0
    unit = 1 / np.sqrt(s.m * class_)
    e = s.size * unit * {"even": 1.0, "uneven": np.where(odd, 1, -1), "unseen": 0.0}[s.place]
    least = unit * np.where(odd, 0.3, 0.02)
    w = np.sqrt(s.m * (least + np.maximum(e, 0)))
    h = np.sqrt((least + np.maximum(-e, 0)) / (1 / class_ + 1 / single))
    # Along the mean: balanced, and so that the biases end where asked (checked in `expected`).
    kappa, sign = np.sqrt(global_ / s.m), 1 if s.bias <= 1 else -1
    w0 = np.sqrt(abs(1 - s.bias) / kappa) * np.exp(-sign * kappa * s.bias / s.C)
    w, h = np.r_[w0, w], np.r_[sign * kappa * w0, h]
    norm = s.size * unit * (s.C - 1) ** 0.5
    scatter = np.r_[0.0, h[1:] ** 2, single * norm * (s.place == "unseen")]
    H2 = np.zeros((s.C + 3, s.C * (s.m - 1)))
    H2[:, : s.C] = frame[:, 1:] * np.sqrt(scatter[1:])
    seen = frame[:, : s.C]
    return (basis * w) @ seen.T, (seen * h) @ basis.T, H2, np.zeros(s.C), norm


def flow(s: Setting) -> block_ntk.ReducedTrajectory:
    """The library's trajectory from the page's start."""
    state = map(jnp.asarray, start(s)[:4])
    ts = jnp.asarray(KEPT)
    return block_ntk.reduced_flow(*state, s.kernel, m=s.m, C=s.C, ts=ts)


@functools.cache
def expected(s: Setting) -> dict[str, float]:
    """What the library says of a setting, by the ids of the page's elements."""
    path, norm = flow(s), start(s)[-1]
    at = 1 + s.time // 5
    assert KEPT[at] == TIMES[s.time]
    W, H1 = path.W[at], path.H1[at]
    assert jnp.max(jnp.abs(path.b[-1] - s.bias / s.C)) < 1e-7, "the biases end elsewhere"
    H = block_ntk.compose(H1, path.H2[at], m=s.m)
    y = jnp.repeat(jnp.arange(s.C), s.m)
    single, class_, global_ = s.kernel.eigenvalues(s.m, s.C)
    alpha = s.kernel.alpha(s.m, s.C)
    ends = block_ntk.equal_bias_frames(s.bias / s.C, float(alpha), C=s.C)
    E = block_ntk.invariant(W, H, s.kernel, m=s.m, C=s.C)
    assert jnp.linalg.norm(E) == pytest.approx(norm, abs=1e-8)
    return {
        "single": single,
        "class": class_,
        "global": global_,
        "single-times": s.m * s.C - s.C,
        "class-tenth": np.log(10) / class_,
        "alpha": alpha,
        "rho-end": ends.rho,
        "phi-end": ends.phi,
        "rho-end-angle": ends.rho,
        "nc1": metrics.nc1(H.T, y, num_classes=s.C),
        "nc2": metrics.nc2(H.T, y, num_classes=s.C),
        "nc3": metrics.nc3(H.T, y, W, num_classes=s.C),
        "residual": path.residual[at] / (s.m * s.C) ** 0.5,
        "rho": fitted(W @ W.T),
        "phi": fitted(H1.T @ H1),
        "norm": jnp.linalg.norm(E),
        "weights": jnp.linalg.norm(W.T @ W) / s.m,
        "features": jnp.linalg.norm(W.T @ W / s.m - E),
    }


def fitted(gram) -> float:
    """The c of I − c 11ᵀ whose cosine is the mean one of the frame."""
    C = gram.shape[0]
    inside = jnp.trace(gram) / C
    outside = (gram.sum() - jnp.trace(gram)) / (C * (C - 1))
    return -outside / (inside - outside)


@pytest.fixture(scope="module")
def opened(chromium, book):  # noqa: F811
    """The page, opened once; its settings are those of the last test."""
    chromium.get((book / "book" / "play.html").as_uri())
    chromium.execute_async_script(LOOK)
    return chromium


def turn_to(driver, s: Setting) -> None:
    """Move every control to its place, from the page's beginning."""
    driver.execute_script(
        """
        const { place, ...values } = arguments[0];
        document.getElementById("play-controls").reset();
        document.querySelector(`input[name=play-place][value=${place}]`).click();
        for (const [id, value] of Object.entries(values)) {
          const slider = document.getElementById(`play-${id}`);
          slider.value = value;
          slider.dispatchEvent(new Event("input", { bubbles: true }));
        }
        """,
        dataclasses.asdict(s),
    )


def shown(driver) -> dict[str, float]:
    """Every number on the page, before it was rounded."""
    numbers = driver.execute_script(
        "return [...document.querySelectorAll('#play-app [data-value]')]"
        ".map(node => [node.id.slice(5), node.dataset.value])"
    )
    return {name: float(value) for name, value in numbers}


def close(value, wanted) -> bool:
    return value == pytest.approx(float(wanted), rel=1e-6, abs=2e-8)


@each
def test_the_page_shows_what_the_library_computes(opened, setting):
    turn_to(opened, setting)
    numbers = shown(opened)
    wrong = {
        name: (numbers[name], float(value))
        for name, value in expected(setting).items()
        if not close(numbers[name], value)
    }
    assert wrong == {}


def test_another_kernel_would_be_told_from_it(opened):
    setting = SETTINGS["on the way, no biases"]
    turn_to(opened, dataclasses.replace(setting, across=0.45))
    numbers = shown(opened)
    same = [name for name, value in expected(setting).items() if close(numbers[name], value)]
    assert set(same) <= {"single", "single-times", "norm"}


@each
def test_the_invariant_stays_to_the_tolerance_of_the_solver(opened, setting):
    turn_to(opened, setting)
    assert shown(opened)["drift"] < 5e-9
    turn_to(opened, dataclasses.replace(setting, time=0))
    before = shown(opened)
    turn_to(opened, dataclasses.replace(setting, time=250))
    after = shown(opened)
    assert abs(after["norm"] - before["norm"]) < 5e-9
    assert abs(after["weights"] - before["weights"]) > 0.01, "its two parts do move"
    assert abs(after["features"] - before["features"]) > 0.01


def test_a_flow_with_balanced_start_collapses_and_one_without_need_not(opened):
    collapsed = ("nc1", "nc2", "nc3")
    turn_to(opened, Setting())
    assert max(shown(opened)[name] for name in collapsed) < 1e-8
    for place, fails in {"uneven": {"nc2", "nc3"}, "unseen": {"nc1"}, "even": set()}.items():
        turn_to(opened, Setting(size=1.0, place=place))
        numbers = shown(opened)
        assert {name for name in collapsed if numbers[name] > 0.01} == fails, place
        assert numbers["residual"] < 1e-8


def test_the_arrow_keys_move_a_slider_and_the_numbers_follow(opened):
    turn_to(opened, Setting())
    slider = opened.find_element(By.ID, "play-m")
    slider.send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert slider.get_attribute("value") == "12"
    assert opened.find_element(By.ID, "play-m-value").text == "12"
    assert shown(opened)["class"] == pytest.approx(0.4 + 12 * 0.5)
    clock = opened.find_element(By.ID, "play-time")
    clock.send_keys(Keys.HOME)
    assert shown(opened)["nc1"] > 0.9
    assert clock.get_attribute("aria-valuetext") == "t = 0.001"


def test_the_whole_figure_can_be_reached_by_the_tab_key_and_shows_where_one_is(opened):
    opened.execute_script("document.getElementById('play-diag').focus()")
    seen = []
    for _ in range(10):
        seen.append(
            opened.execute_script(
                "const e = document.activeElement, s = getComputedStyle(e);"
                "return [e.id || e.name, s.outlineStyle, parseFloat(s.outlineWidth)]"
            )
        )
        opened.switch_to.active_element.send_keys(Keys.TAB)
    names = [*SLIDERS, "place", "play", "time"]
    assert [name for name, *_ in seen] == [f"play-{name}" for name in names]
    assert all(style == "solid" and width >= 2 for _, style, width in seen)


@pytest.mark.parametrize(
    ("moved", "key", "values"),
    [
        ("within", Keys.END, (2.0, 1.9, 0.1)),
        ("across", Keys.END, (2.0, 1.9, 1.9)),
        ("diag", Keys.HOME, (0.1, 0.0, 0.0)),
    ],
)
def test_a_value_that_is_moved_pushes_the_others(opened, moved, key, values):
    turn_to(opened, Setting())
    opened.find_element(By.ID, f"play-{moved}").send_keys(key)
    kernel = [opened.find_element(By.ID, f"play-{name}") for name in SLIDERS[:3]]
    assert tuple(float(slider.get_attribute("value")) for slider in kernel) == values
    assert shown(opened)["single"] == pytest.approx(0.1)


def test_what_happened_is_said_in_words_once_the_reader_pauses(opened):
    turn_to(opened, Setting(size=1.0, C=5))
    words = opened.find_element(By.ID, "play-words")
    assert words.get_attribute("aria-live") == "polite"
    WebDriverWait(opened, 10).until(lambda _: "10.4 for the mean" in words.text)
    assert "NC1 is below 10⁻⁸" in words.text
    named = opened.find_elements(By.CSS_SELECTOR, "#play-app [role=img]")
    names = [node.get_attribute("aria-label") for node in named]
    assert len(names) == 3
    assert "5 class means" in names[0]
    assert "below 10⁻⁸" in names[1]


def test_play_runs_through_time_and_can_be_halted(opened):
    turn_to(opened, Setting(time=250))
    button = opened.find_element(By.ID, "play-play")
    clock = opened.find_element(By.ID, "play-time")
    opened.execute_script("arguments[0].click()", button)
    assert button.text == "Pause"
    WebDriverWait(opened, 10).until(lambda _: 10 < int(clock.get_attribute("value")) < 250)
    opened.execute_script("arguments[0].click()", button)
    assert button.text == "Play"
    halted = clock.get_attribute("value")
    opened.execute_async_script("setTimeout(arguments[0], 100)")
    assert clock.get_attribute("value") == halted != "250"


def test_each_thing_to_try_sets_what_it_names(opened):
    turn_to(opened, Setting(m=3, C=9))
    for button in opened.find_elements(By.CSS_SELECTOR, "[data-play]"):
        wanted = {"m": 10, "C": 3, "time": 250, **json.loads(button.get_attribute("data-play"))}
        opened.execute_script("arguments[0].click()", button)
        assert wanted.pop("place", "uneven") == opened.execute_script(
            "return document.querySelector('input[name=play-place]:checked').value"
        )
        for name, value in wanted.items():
            assert float(opened.find_element(By.ID, f"play-{name}").get_attribute("value")) == value


def test_the_plots_are_drawn_and_drawn_again_in_the_dark(opened):
    turn_to(opened, Setting(size=1.0))
    drawn = "return [...document.querySelectorAll('#play-app canvas')].map(c => c.toDataURL())"
    pictures = {}
    for theme in ("light", "dark", "light"):
        switch_to(opened, theme)
        opened.execute_async_script("requestAnimationFrame(() => setTimeout(arguments[0], 50))")
        pictures.setdefault(theme, opened.execute_script(drawn))
    assert len(pictures["light"]) == 2
    assert all(one != two for one, two in zip(pictures["light"], pictures["dark"], strict=True))
    assert all(len(picture) > 5000 for pair in pictures.values() for picture in pair)


def test_playing_asks_nothing_of_the_network_and_complains_of_nothing(chromium, book):  # noqa: F811
    for log in ("performance", "browser"):
        chromium.get_log(log)
    chromium.get((book / "book" / "play.html").as_uri())
    corners = itertools.product(((0.1, 0.0, 0.0), (2.0, 1.9, 1.9)), (2, 50), (3, 10), (0.0, 2.0))
    for (diag, within, across), m, C, bias in corners:
        turn_to(chromium, Setting(diag, within, across, m, C, bias, size=2.0))
        assert all(np.isfinite(list(shown(chromium).values())))
    assert beyond_the_disk(requests(chromium)) == []
    complaints = [entry for entry in chromium.get_log("browser") if entry["level"] == "SEVERE"]
    assert complaints == []
