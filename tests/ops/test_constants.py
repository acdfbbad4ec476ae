import torch

from dprd_cli.ops.constants import constant


def test_numbers_are_those_of_torch_tensor():
    device = torch.device("cpu")
    assert torch.equal(constant([[1, 2], [3, 4]], device), torch.tensor([[1, 2], [3, 4]]))
    assert constant((1, 2), device, torch.float64).dtype == torch.float64
    assert constant(3, torch.device("meta")).device.type == "meta"
