"""Every choice that SCN leaves open, by name, and the presets: the paper, the released code, our recipe."""

from dataclasses import asdict, dataclass, fields, replace

from scn_fastai.core.importance import check_beta
from scn_fastai.core.losses import check_margin
from scn_fastai.errors import SettingsError

CHOICES = {
    "combine": ("mix", "sum"),
    "scope": ("low", "all"),
    "reference": ("original", "current"),
    "logits": ("weighted", "raw"),
    "evidence": ("step", "averaged"),
}
FLAGS = ("weight", "relative", "rank", "learn_margin", "weighted_inference", "bias")


@dataclass(frozen=True)
class SCNSettings:
    """The settings of an SCN training; immutable, checked when made.

    ``relabel_from`` is an epoch, counted from 0 over all fits (10: the eleventh epoch is the first that
    relabels), or the rule ``'settled'``: relabeling starts when a third of the fit's epochs are done and the
    averaged predictions of at least the share ``settled`` of the samples are what they were an epoch before, if by them
    at least the share ``noise_needed`` of the labels looks wrong, and that share has all but stopped falling
    (`noise_shows`): where labels are right, there is nothing to cure. The very first epoch never relabels: in it the
    samples' indices are checked. ``weight_from`` says the same of weighting and rank loss; before that epoch the
    network trains as an ordinary one.

    ``aside`` is a share of the training set: so many of the samples whose averaged prediction is not their label, the
    clearest doubts that are not relabeled, learn from that prediction instead of the label. It acts together with
    relabeling (``relabel=True``), from the first epoch that weights on, and spares what a person decided.

    ``early_learning`` is the strength of the term of ELR (`core.early_learning`) that holds every prediction near what
    it was on average, so that fewer wrong labels are learned while the network is an ordinary one. It acts as long as
    neither relabeling nor weighting may begin: with ``'settled'`` in the first third of the epochs, and not after it
    where they do not begin at all. It keeps doubts alive, of right labels too, so `noise_shows` is asked only when the
    two epochs that it compares are later. It spares what a person decided.

    ``relabel='propose'`` keeps the whole rule but changes no label: the changes become proposals in the ledger
    (``ledger.proposals``), and a person decides. The next epoch trains on what was decided. It waits for no share of
    labels that look wrong.

    >>> SCNSettings().change(beta=0.8).beta
    0.8
    """

    weight: bool = True  # multiply the logits by alpha (Eq. 2)
    relative: bool = True  # weight by alpha / mean alpha of the batch; False: by alpha itself (paper)
    weight_from: int | str = "settled"  # when weighting and rank loss begin; the paper: at once
    rank: bool = True  # add the rank regularization loss (Eq. 3)
    relabel: bool | str = True  # change labels (Eq. 5); 'propose': leave the changes to a person
    beta: float = 0.7  # share of the high-importance group
    rank_margin: float = 0.15  # delta1
    learn_margin: bool = False  # delta1 is a parameter that starts at rank_margin
    gamma: float = 0.5  # RR against WCE; used by combine='mix'
    combine: str = "sum"  # 'mix': gamma RR + (1 - gamma) WCE (paper); 'sum': RR + WCE (released code)
    relabel_margin: float = 0.4  # delta2; the paper's is 0.2
    relabel_from: int | str = "settled"
    settled: float = 0.85
    noise_needed: float = 0.08  # 'settled' waits until this share of labels looks wrong (`noise_estimate`); 0: always
    noise_steady: float = 0.9  # and until so much of that share of two epochs before is left (`noise_shows`)
    noise_steady_late: float = 0.85  # the same once more than half of the epochs are done (`steadiness`)
    scope: str = "all"  # who may be relabeled: 'low' group (paper), 'all' (released code)
    reference: str = "original"  # label compared with: 'original' (Eq. 5; revocable), 'current' (released code)
    logits: str = "weighted"  # probabilities of the 'weighted' logits (as in the loss) or of the 'raw' ones
    evidence: str = "averaged"  # 'step': this batch's prediction (paper); 'averaged': over epochs
    evidence_decay: float = 0.7  # weight of an epoch in the average, against the one after it
    budget: float | None = 0.18  # at most this share of the training set is relabeled at a time; None: no limit
    budget_ramp: int = 10  # epochs over which the budget grows to that share
    aside: float = 0.12  # share that is doubted, not relabeled, and learns from its averaged prediction; 0: nobody
    early_learning: float = 0.0  # strength of ELR's term, until relabeling or weighting may begin; 0: none
    weighted_inference: bool = False  # multiply the logits by alpha outside training too (released code)
    bias: bool = True  # alpha has a bias (released code; the paper's Eq. 1 has none)
    alpha_start: float | None = 0.9  # alpha of every sample before training; None: around 0.5, as drawn

    def __post_init__(self) -> None:
        """Check every value."""
        for name in FLAGS:
            if not isinstance(getattr(self, name), bool):  # 'no' would be true, as any text is
                raise SettingsError(f"{name} is {getattr(self, name)!r}, but it must be True or False.")
        if not (isinstance(self.relabel, bool) or self.relabel == "propose"):
            raise SettingsError(f"relabel is {self.relabel!r}, but it must be True, False or 'propose'.")
        check_beta(self.beta)
        check_margin(self.rank_margin, "rank margin (delta1)")
        check_margin(self.relabel_margin, "relabel margin (delta2)")
        if not 0 <= self.gamma <= 1:
            raise SettingsError(f"gamma is {self.gamma}, but it weighs RR against WCE and must lie between 0 and 1.")
        for name, allowed in CHOICES.items():
            value, words = getattr(self, name), " or ".join(map(repr, allowed))
            if value not in allowed:
                raise SettingsError(f"{name} is {value!r}, but it must be {words}.")
        for name in ("relabel_from", "weight_from"):
            when = getattr(self, name)
            if when != "settled" and not (isinstance(when, int) and when >= 0):
                raise SettingsError(f"{name} is {when!r}, but it must be an epoch (0, 1, ...) or 'settled'.")
        for name in ("settled", "evidence_decay", "noise_steady", "noise_steady_late"):
            if not 0 < getattr(self, name) <= 1:
                raise SettingsError(f"{name} is {getattr(self, name)}, but it must lie in (0, 1].")
        if not 0 <= self.noise_needed < 1:
            raise SettingsError(f"noise_needed is {self.noise_needed}, but it is a share of the labels in [0, 1).")
        if not self.budget_ramp >= 0:
            raise SettingsError(f"budget_ramp is {self.budget_ramp}, but it is a number of epochs: 0 or more.")
        if self.alpha_start is not None and not (self.bias and 0 < self.alpha_start < 1):
            raise SettingsError(
                f"alpha_start is {self.alpha_start}, but it must lie between 0 and 1, and it needs bias=True, through "
                "which it is set."
            )
        if self.budget is not None and not 0 < self.budget <= 1:
            raise SettingsError(f"budget is {self.budget}, but it is a share of the training set in (0, 1], or None.")
        if not 0 <= self.aside < 1:
            raise SettingsError(f"aside is {self.aside}, but it is a share of the training set in [0, 1).")
        if not 0 <= self.early_learning < float("inf"):
            raise SettingsError(
                f"early_learning is {self.early_learning}, but it is the strength of a term of the loss: 0 or more."
            )
        if self.early_learning and (self.evidence == "step" or self.evidence_decay == 1):
            raise SettingsError(
                "early_learning holds predictions near their running mean, so it needs evidence='averaged' and an "
                "evidence_decay below 1."
            )
        whole = any(on and when == "settled" for on, when in self.begins()) or (
            self.relabel and (self.budget is not None or self.aside)
        )
        if self.evidence == "step" and whole:
            raise SettingsError(
                "relabel_from='settled', weight_from='settled', a budget and samples set aside look at the whole "
                "training set, so they need evidence='averaged': with evidence='step' name epochs, and set budget=None "
                "and aside=0."
            )

    def begins(self) -> tuple[tuple[bool | str, int | str], ...]:
        """Of relabeling, then of weighting and rank loss: whether it is on, and when it begins."""
        return (self.relabel, self.relabel_from), (self.weight or self.rank, self.weight_from)

    def change(self, **values) -> "SCNSettings":
        """A copy with some settings changed.

        Raises:
            SettingsError: a name is unknown or a value is out of range.
        """
        known = {field.name for field in fields(self)}
        for name in values:
            if name not in known:
                raise SettingsError(f"{name!r} is not an SCN setting; there are: {', '.join(sorted(known))}.")
        return replace(self, **values)

    def as_dict(self) -> dict:
        """The settings as plain values, for JSON."""
        return asdict(self)


PRESETS = {
    "default": SCNSettings(),
    # Equations as printed; what the text leaves open is as in the released code (weighted logits, train mode).
    "paper": SCNSettings(
        weight_from=0,
        relative=False,
        combine="mix",
        relabel_margin=0.2,
        relabel_from=10,
        scope="low",
        reference="original",
        evidence="step",
        budget=None,
        aside=0.0,
        bias=False,
        alpha_start=None,
    ),
    # github.com/kaiwang960112/Self-Cure-Network, src/train.py and README: delta1 is 0.07 for its batch of 64.
    "released": SCNSettings(
        weight_from=0,
        relative=False,
        rank_margin=0.07,
        relabel_margin=0.2,
        relabel_from=10,
        scope="all",
        reference="current",
        evidence="step",
        budget=None,
        aside=0.0,
        weighted_inference=True,
        alpha_start=None,
    ),
}


def preset(name: str) -> SCNSettings:
    """The settings called ``default``, ``paper`` or ``released``."""
    if name not in PRESETS:
        raise SettingsError(f"{name!r} is not a preset; there are: {', '.join(PRESETS)}.")
    return PRESETS[name]
