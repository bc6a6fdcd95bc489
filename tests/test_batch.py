"""How a mask-guided loss is averaged."""

import pytest
import torch
import torch.distributed as dist

from lookright.batch import mean_over_masked


def test_mean_is_that_of_one_process_on_the_joined_batch(monkeypatch):
    loss, weight = torch.tensor([1.0, 2.0, 4.0, 8.0]), torch.tensor([0.5, 0.0, 2.0, 1.0])
    expected = (0.5 * 1 + 2 * 4 + 1 * 8) / 3
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_world_size", lambda: 2)
    of_processes = []
    for part, elsewhere in ((slice(0, 2), 2), (slice(2, 4), 1)):
        monkeypatch.setattr(dist, "all_reduce", lambda count, elsewhere=elsewhere: count.add_(elsewhere))
        of_processes.append(mean_over_masked(loss[part], weight[part]).item())
    assert sum(of_processes) / 2 == pytest.approx(expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_processes_count_alike_whatever_the_dtype_of_their_loss(monkeypatch, dtype):
    sent = []
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_world_size", lambda: 2)
    monkeypatch.setattr(dist, "all_reduce", lambda count: sent.append(count.clone()))
    mean = mean_over_masked(torch.ones(301, dtype=dtype), torch.ones(301, dtype=dtype))
    assert sent[0].dtype == torch.float32
    assert sent[0] == 301
    assert mean.dtype == dtype
