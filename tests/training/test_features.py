"""Features: what the importance head is given."""

import pytest
import torch
from torch import nn

from scn_fastai.errors import SettingsError
from scn_fastai.training.features import features_of
from scn_fastai.training.head import attach_head, find_head
from scn_fastai.training.network import small_network


def test_features_are_the_input_of_the_last_layer():
    body = nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.ReLU())
    model, _ = attach_head(nn.Sequential(*body, nn.Dropout(0.5), nn.Linear(5, 3)))
    batches = [torch.rand(4, 3, 2, 2), torch.rand(1, 3, 2, 2)]
    found = features_of(model, batches)
    assert torch.allclose(found, torch.cat([body(x) for x in batches]).detach())


def test_the_network_is_left_as_it_was():
    model, _ = attach_head(small_network(4))
    model.train()
    frozen = model[1].eval()  # a batch norm, as BnFreeze leaves it
    features_of(model, [torch.rand(2, 3, 32, 32)])
    head = find_head(model)
    assert model.training and model[0].training and not frozen.training
    assert head.alpha is None and not head._forward_pre_hooks


def test_what_cannot_be_done_is_said():
    with pytest.raises(SettingsError, match="no importance head"):
        features_of(small_network(4), [])
    with pytest.raises(SettingsError, match="no batch"):
        features_of(attach_head(small_network(4))[0], [])
