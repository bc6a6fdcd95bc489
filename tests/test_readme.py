import re
from pathlib import Path

import pytest

README = (Path(__file__).parents[1] / "README.md").read_text()


@pytest.mark.parametrize("code", re.findall(r"```python\n(.*?)```", README, re.DOTALL))
def test_code_runs_as_pasted(code):
    names = {}
    exec(code, names)
    assert names["loss"].total.isfinite()
    assert all(parameter.grad is not None for parameter in names["classifier"].parameters())
