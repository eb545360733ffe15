"""What callbacks carry from epoch to epoch: it is asked for by name, and comes back or is missed in a sentence."""

from types import SimpleNamespace

import pytest
import torch
from fastai.learner import Callback

from scn_fastai.errors import RunError
from scn_fastai.training.callback_state import callback_states, load_callback_states


class CountingCallback(Callback):
    def __init__(self, value):
        self.value = torch.tensor(value)

    def state(self):
        return {"value": self.value}

    def load_state(self, state):
        self.value = state["value"]


def with_callbacks(*cbs):
    return SimpleNamespace(cbs=list(cbs))


def test_states_come_back_by_name_and_only_to_those_that_have_one():
    states = callback_states(with_callbacks(CountingCallback(3), Callback()))
    assert states == {"counting": {"value": torch.tensor(3)}}
    other = CountingCallback(0)
    load_callback_states(with_callbacks(Callback(), other), states)
    assert int(other.value) == 3


def test_a_state_that_is_missing_is_one_sentence():
    with pytest.raises(RunError, match="trained without CountingCallback, so it cannot be resumed with it"):
        load_callback_states(with_callbacks(CountingCallback(3)), {})
