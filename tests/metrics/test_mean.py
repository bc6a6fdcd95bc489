import pytest
import torch

from lookright.metrics.mean import MeanOverDefined


def test_undefined_images_are_left_out_and_counted():
    metric = MeanOverDefined()
    metric.update(torch.tensor([1.0, torch.nan, 3.0]))
    metric.update(torch.tensor([torch.nan]))
    assert metric.compute() == 2
    assert (metric.defined, metric.undefined) == (2, 2)


def test_a_row_with_one_nan_is_undefined():
    metric = MeanOverDefined(shape=(2,))
    metric.update(torch.tensor([[1.0, 2.0], [torch.nan, 9.0]]))
    assert metric.compute().tolist() == [1, 2]
    assert metric.undefined == 1


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_without_images_it_is_nan():
    metric = MeanOverDefined()
    assert metric.compute().isnan()
    metric.update(torch.tensor([torch.nan]))
    assert metric.compute().isnan()


def test_parts_join_as_one():
    value = torch.rand(7, generator=torch.Generator().manual_seed(0))
    value[3] = torch.nan
    whole, first, second = MeanOverDefined(), MeanOverDefined(), MeanOverDefined()
    whole.update(value)
    first.update(value[:2])
    second.update(value[2:])
    first.merge_state(second)
    torch.testing.assert_close(first.compute(), whole.compute())
    assert first.undefined == whole.undefined
    first.reset()
    assert first.defined == 0
