"""What callbacks carry from epoch to epoch, for a Run to keep and to bring back."""

from scn_fastai.errors import RunError, SettingsError


def check_free(before, learn) -> None:
    """Raise one sentence if a callback that is on one Learner is put on another."""
    if before is not None and before is not learn:
        raise SettingsError(
            "This SCNCallback holds the labels and the history of another Learner: make a new one, or take it off "
            "there first (learn.remove_cb)."
        )


def callback_states(learn) -> dict[str, dict]:
    """The state of every callback that has ``state()`` and ``load_state()``, by the callback's name.

    A state is a dict of tensors; nothing in it may need a pickle.
    """
    return {cb.name: cb.state() for cb in _stateful(learn)}


def load_callback_states(learn, states: dict[str, dict]) -> None:
    """Give every such callback its state back.

    Raises:
        RunError: there is none for one of them, or it does not fit.
    """
    for cb in _stateful(learn):
        if cb.name not in states:
            raise RunError(
                f"This run was trained without {type(cb).__name__}, so it cannot be resumed with it: make the Learner "
                "as its settings.json says."
            )
        cb.load_state(states[cb.name])


def _stateful(learn) -> list:
    return [cb for cb in learn.cbs if hasattr(type(cb), "load_state")]  # an instance also answers for its Learner
