"""A callback that leaves Learner, network and loader as it found them, however its training ends."""

from fastai.learner import Callback, Learner

from scn_fastai.errors import SCNError, SettingsError


class Guest(Callback):
    """A subclass changes things in ``before_train`` and gives them back in `leave`, which is called without need too.

    None of fastai's events is certain to come: what cancels a fit (``lr_find``, NaN) skips ``after_train``, Ctrl-C
    skips everything, and ``remove_cb`` has no event. So `leave` is called after an epoch, after a fit, before the next
    one or the next evaluation, and when the callback is taken off the Learner.
    """

    @property
    def learn(self) -> Learner | None:
        """The Learner; None takes the callback off it."""
        return vars(self).get("learn")

    @learn.setter
    def learn(self, learn: Learner | None) -> None:
        if learn is None and self.learn is not None:
            self.leave()
        vars(self)["learn"] = learn

    def __call__(self, event_name: str):
        """Run an event; our own errors come through as the one sentence that they are."""
        try:
            return super().__call__(event_name)
        except SCNError as error:
            raise type(error)(str(error).split(":\n\t", 1)[-1]) from None

    @property
    def active(self) -> bool:
        """Whether a training runs, and neither a validation of its own nor a search for a learning rate."""
        return not self.learn.lock.locked() and not hasattr(self.learn, "lr_finder")

    def leave(self) -> None:
        """Give back what there is to give back."""

    def before_fit(self) -> None:
        """An interrupt skipped the end of the fit before; a training needs the labels that SCNCallback keeps."""
        self.leave()
        if self.active and not hasattr(self.learn, "scn"):
            raise SettingsError(
                f"{type(self).__name__} trains by the labels that SCNCallback keeps, and that was taken off the "
                "Learner: take this callback off too, or make a new Learner."
            )

    def after_train(self) -> None:
        """Validation finds everything as it was."""
        self.leave()

    def after_fit(self) -> None:
        """A fit that was cancelled skipped `after_train`."""
        self.leave()
