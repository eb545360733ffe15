"""Random batches for the tests of the equations."""

import pytest
import torch

SIZES = (1, 2, 3, 7, 128)
CLASSES = (2, 7, 8)
BETAS = (0.5, 0.6, 0.7, 0.8, 0.9)


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request):
    """The device a test runs on; CUDA is skipped with a reason where there is none."""
    return request.param


@pytest.fixture
def batch(tiny):
    """A function that makes float64 logits ``[n, c]``, alpha ``[n]`` without ties, and targets ``[n]``."""

    def make(n, c=7, dtype=torch.float64, device="cpu"):
        logits = torch.randn(n, c, generator=tiny, dtype=torch.float64) * 3
        alpha = (torch.randperm(n, generator=tiny).double() + 1) / (n + 1)
        target = torch.randint(c, (n,), generator=tiny)
        return logits.to(device, dtype), alpha.to(device, dtype), target.to(device)

    return make


def pytest_generate_tests(metafunc):
    """A test that asks for ``n``, ``c`` or ``beta`` runs with each of the sizes above."""
    for name, values in {"n": SIZES, "c": CLASSES, "beta": BETAS}.items():
        if name in metafunc.fixturenames:
            metafunc.parametrize(name, values)
