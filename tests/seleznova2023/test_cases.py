"""Every case of this paper has its scales, and grows with them."""

import pytest

from ncutils import experiments

CASES = sorted(name for name in experiments.cases() if name.startswith("seleznova2023/"))


@pytest.mark.parametrize("name", CASES)
def test_a_case_has_three_scales_and_no_fewer_seeds_at_a_larger_one(name):
    configs = [experiments.config_of(name, scale=s) for s in ("smoke", "quick", "paper")]
    seeds = [len(config.seeds) for config in configs]
    assert seeds == sorted(seeds)
    assert len({repr(config) for config in configs}) == 3
    with pytest.raises(ValueError, match="huge"):
        experiments.config_of(name, scale="huge")


def test_all_cases_of_the_pages_and_pairs_are_there():
    assert len(CASES) == 7 + 3 + 10


@pytest.mark.parametrize("case", ["mnist", "digits", "cross_entropy"])
def test_trained_networks_have_enough_seeds_and_longer_runs_at_larger_scales(case):
    name = f"seleznova2023/networks/{case}"
    configs = [experiments.config_of(name, scale=s) for s in ("smoke", "quick", "paper")]
    assert all(len(config.seeds) >= 3 for config in configs[1:])
    assert configs[0].epochs < configs[1].epochs < configs[2].epochs
