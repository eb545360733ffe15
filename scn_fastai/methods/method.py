"""What a method is: a change to an ordinary Learner, and a card that says what it assumes and costs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Method:
    """A way to train that has a name.

    ``prepare(learn, faces, **options)`` changes a Learner before it is fitted: it adds callbacks, or sets
    ``learn.loss_func``; a network of another form is named in ``network`` instead. The Learner carries an SCNCallback
    that changes nothing (plain settings): it keeps history and ledger, and its ``index`` says which samples a batch
    holds. ``faces`` is the FaceSet behind the loaders, for methods that look at its table (votes, say). ``options``
    holds every option with its default. ``check(**options)`` raises a SettingsError for a bad one, so that a long
    comparison fails at once.
    """

    name: str
    prepare: Callable[..., None]
    about: str  # one line, as `scn recipes` shows it
    paper: str  # authors, title, venue, year
    assumes: str
    costs: str
    options: Mapping[str, bool | int | float | str] = field(default_factory=dict)
    check: Callable[..., object] | None = None
    network: str = ""  # what `build_network` puts around the network asked for: 'ran' makes 'ran:resnet18' of it
    processes: bool = False  # whether it may train in several: its loss is a mean over the samples of a batch
    draws: bool = False  # whether it draws batches of its own

    def arch(self, asked: str) -> str:
        """The architecture that this method trains where ``asked`` is asked for."""
        return f"{self.network}:{asked}" if self.network else asked
