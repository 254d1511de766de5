"""A case has one name, three scales and a configuration that a user may change."""

import dataclasses
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from ncutils import experiments
from ncutils.experiments import __main__ as command
from ncutils.records import digest, workspace

CASES = experiments.cases()
MODULE = """\
import dataclasses
import xarray as xr
from ncutils.experiments import case

@dataclasses.dataclass(frozen=True)
class Line:
    size: int
    seeds: tuple[int, ...] = (0, 1, 2)

@case(smoke=Line(3), quick=Line(30), paper=Line(300), workstation=Line(3000))
def rise(config):
    return xr.Dataset({"size": config.size})

@case(smoke=Line(3), quick=Line(30), paper=Line(300))
def train(config, *, checkpoint=None):
    return xr.Dataset(attrs={"checkpoint": str(checkpoint)})

def helper(config):
    return xr.Dataset()
"""

#: Not even importable: a decorator without a scale is refused by Python itself.
BRIEF = """\
from ncutils.experiments import case

@case(smoke=3, quick=30)
def short(config):
    return None
"""


@pytest.fixture
def drawer(tmp_path, monkeypatch):
    """A drawer of its own, which the library takes for one of the project."""
    folder = tmp_path / "drawers"
    (folder / "toy2020").mkdir(parents=True)
    (folder / "toy2020" / "__init__.py").write_text("")
    (folder / "toy2020" / "line.py").write_text(MODULE)
    (folder / "toy2020" / "brief.py").write_text(BRIEF)
    monkeypatch.setattr(experiments, "__path__", [*experiments.__path__, str(folder)])
    monkeypatch.setattr(experiments, "FOLDER", folder)
    yield folder
    for name in [name for name in sys.modules if "toy2020" in name]:
        del sys.modules[name]


@pytest.mark.usefixtures("drawer")
def test_cases_are_the_marked_functions_with_the_scales_that_they_have():
    assert experiments.cases() == {
        "toy2020/line/rise": {"smoke", "quick", "paper", "workstation"},
        "toy2020/line/train": {"smoke", "quick", "paper"},
        "toy2020/brief/short": {"smoke", "quick"},
    }


@pytest.mark.usefixtures("drawer")
def test_a_case_runs_at_a_scale_or_with_changes_and_writes_nothing():
    assert experiments.run("toy2020/line/rise").size == 3
    assert experiments.run("toy2020/line/rise", scale="workstation").size == 3000
    assert experiments.run("toy2020/line/rise", scale="quick", size=7).size == 7
    kept = experiments.config_of("toy2020/line/rise", scale="smoke")
    assert kept.size == 3, "a change is of one run"
    assert not Path("_build/smoke/results/toy2020").exists()


@pytest.mark.usefixtures("drawer")
def test_a_checkpoint_is_handed_to_the_case_that_takes_one():
    path = Path("a.eqx")
    assert experiments.run("toy2020/line/train", checkpoint=path).checkpoint == "a.eqx"
    assert experiments.run("toy2020/line/train").checkpoint == "None"
    assert experiments.run("toy2020/line/rise", checkpoint=path).size == 3


@pytest.mark.usefixtures("drawer")
@pytest.mark.parametrize(
    ("name", "words", "message"),
    [
        (
            "toy2020/line/fall",
            {},
            r"^no case 'toy2020/line/fall': write `@case\(smoke=…, quick=…, paper=…\)` over a "
            r"function fall in ncutils/experiments/toy2020/line\.py; there are: toy2020/brief/short, toy2020/line/rise",
        ),
        ("toy2020/line/helper", {}, "no case 'toy2020/line/helper'"),
        ("rise", {}, "no case 'rise'"),
        ("../../etc/passwd", {}, "no case"),
        (
            "toy2020/brief/short",
            {},
            r"^case toy2020/brief/short has no scale paper: write `paper=…` into its `@case\(…\)` "
            r"in ncutils/experiments/toy2020/brief\.py$",
        ),
        ("toy2020/line/train", {"scale": "workstation"}, "unknown scale 'workstation'"),
        ("toy2020/line/rise", {"sise": 3}, "rise has no field sise; it has: size, seeds$"),
    ],
)
def test_what_is_not_there_is_refused_in_one_line(name, words, message):
    with pytest.raises(ValueError, match=message) as caught:
        experiments.run(name, **words)
    assert "\n" not in str(caught.value)


def test_every_case_of_the_book_has_three_scales_of_one_frozen_configuration():
    assert len(CASES) > 20
    for name in CASES:
        function = experiments.find(name)
        configs = [function.scales[scale] for scale in workspace.SCALES]
        assert len({type(config) for config in configs}) == 1, name
        assert all(config.__dataclass_params__.frozen for config in configs), name
        assert configs[0] != configs[2], f"{name}: the paper's size is that of a test"
        words = {field.name for field in dataclasses.fields(configs[0])}
        assert not words & {"name", "scale", "checkpoint"}, f"{name}: `run` could not set it"
        assert function.__doc__, f"{name} says nothing of itself"
        others = list(inspect.signature(function).parameters)[1:]
        assert others in ([], ["checkpoint"]), name


def test_the_same_case_at_another_scale_or_of_other_code_has_another_checkpoint(monkeypatch):
    name = next(iter(CASES))
    config = experiments.config_of(name, scale="smoke")
    first = command.checkpoint_of(name, "smoke", config)
    assert command.checkpoint_of(name, "smoke", config) == first
    assert command.checkpoint_of(name, "quick", config) != first
    other = experiments.config_of(name, scale="paper")
    assert command.checkpoint_of(name, "smoke", other) != first
    monkeypatch.setattr(digest, "case_digest", lambda name: "of other code")
    assert command.checkpoint_of(name, "smoke", config) != first


def test_the_list_names_every_case_and_its_scales_and_imports_no_jax():
    code = "import sys; from ncutils.experiments.__main__ import main; main(['list']);"
    code += "assert 'jax' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [line[0] for line in lines] == list(CASES)
    assert all(line[1:4] == ["smoke", "quick", "paper"] for line in lines)
