from pathlib import Path

import pytest
import vizdoom

from lookright.rl.scenarios import SCENARIOS


@pytest.mark.parametrize("name", SCENARIOS)
def test_what_suits_a_scenario_can_be_used_in_it(name):
    scenario = SCENARIOS[name]
    assert Path(vizdoom.scenarios_path, f"{name}.cfg").is_file()
    assert scenario.targets
    assert scenario.reward_scale > 0
    assert scenario.frame_skip >= 1
    assert scenario.shaping.keys() <= vizdoom.GameVariable.__members__.keys()
