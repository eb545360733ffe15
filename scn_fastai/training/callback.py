"""SCNCallback: each step of SCN at its place in fastai's training loop. It does no arithmetic of its own."""

import math
from pathlib import Path

import torch
from fastai.callback.mixup import MixHandler
from fastai.learner import Callback

from scn_fastai.core import (
    combine_losses,
    early_learning,
    evidence_cross_entropy,
    group_means,
    hold_gradient,
    low_importance,
    rank_regularization,
    relative_importance,
    weighted_logits,
)
from scn_fastai.errors import RunError, SCNError, SettingsError
from scn_fastai.training.callback_state import check_free
from scn_fastai.training.head import ImportanceHead, attach_head, check_parallel, detach_head, find_head, take_over
from scn_fastai.training.history import SCNHistory
from scn_fastai.training.indices import batch_index, check_loader, forget_order, given_labels, record_order
from scn_fastai.training.ledger import LabelLedger
from scn_fastai.training.measures import HistoryColumn, label_accuracy
from scn_fastai.training.optimizer import release_head, train_head
from scn_fastai.training.processes import gather, in_all, mean_of_all, n_processes, not_padding, own_part, rank
from scn_fastai.training.rule import (
    early_targets,
    learns_early,
    may_relabel,
    may_weight,
    relabel_all,
    relabel_batch,
    who_is_aside,
)
from scn_fastai.training.run import Run
from scn_fastai.training.settings import SCNSettings, preset


class SCNCallback(Callback):
    """Train any fastai Learner whose network ends in a Linear layer with SCN.

    Importance weighting (Eq. 1, 2), rank regularization (Eq. 3, 4) and relabeling (Eq. 5) act in training
    batches only; outside of them the network is left plain. Labels live in ``learn.scn.ledger``, what was
    measured in ``learn.scn.history``; the data set is never written, and ``remove_cb`` gives the ordinary
    network back.

    Args:
        settings: the name of a preset (``'default'``, ``'paper'``, ``'released'``) or an SCNSettings.
        run: a Run, or a folder for one, that is saved at the end of every epoch; None saves nothing.
        restore_ledger: whether a loaded checkpoint brings its labels back with its weights.
        **changes: single settings that differ from the preset, such as ``beta=0.8`` (see SCNSettings).

    Raises:
        SettingsError: a setting, the network or the Learner's other callbacks do not fit.

    >>> SCNCallback("paper", beta=0.8).settings.beta
    0.8
    """

    order = 5  # after GatherPreds (0), before GradientAccumulation (6) and MixedPrecision (10)
    # What copies and exports leave behind: the records, and the last batch (an interrupt does not clear it).
    _stateattrs = ("ledger", "history", "saved", "_alpha", "_logits", "_weight", "_index", "_aside", "_trained")
    ledger: LabelLedger | None = None
    history: SCNHistory | None = None
    saved: Run | None = None
    _learn = _alpha = _logits = _weight = _index = _aside = _trained = None

    def __init__(
        self,
        settings: str | SCNSettings = "default",
        run: "Run | str | Path | None" = None,
        restore_ledger: bool = True,
        **changes,
    ):
        base = preset(settings) if isinstance(settings, str) else settings
        self.settings = base.change(**changes)
        self.saved, self.restore_ledger = run, restore_ledger
        self._head, self._kept_parameters, self._position = None, [], 0
        self._watching = self._relabels = self._weighs = self._ended = self._early = False

    # -- on and off the Learner -----------------------------------------------------------------------

    @property
    def learn(self):
        """The Learner; setting it puts the importance head on its network, None takes the head off again."""
        return self._learn

    @learn.setter
    def learn(self, learn) -> None:
        if learn is None and self._learn is not None:
            self._detach()
        elif learn is not None:
            check_free(self._learn, learn)
            self._attach(learn)
        vars(self)["_learn"] = learn

    def __call__(self, event_name: str):
        """Run an event; our own errors come through as the one sentence that they are."""
        try:
            return super().__call__(event_name)
        except SCNError as error:
            raise type(error)(str(error).split(":\n\t", 1)[-1]) from None

    def _attach(self, learn) -> None:
        self._start_records(learn.dls)
        s = self.settings
        options = {"bias": s.bias, "margin": s.rank_margin if s.learn_margin else None, "start": s.alpha_start}
        model, head = attach_head(learn.model, **options)
        take_over(head, self._kept_parameters)
        head.keep_alpha = s.weighted_inference
        if model is not learn.model:
            learn.model = model
        self._use_head(head)

    def _detach(self) -> None:
        self._drop_columns()
        self._learn.model = detach_head(self._learn.model, self._head)
        self._kept_parameters = self._head.own_parameters()
        release_head(self._learn.opt, self._head)
        train = getattr(self._learn.dls, "train", None)
        if train is not None:
            forget_order(train)
        self._head = None

    def _start_records(self, dls) -> None:
        """A ledger of the training set's labels and an empty history, unless there are some already."""
        if self.ledger is None and len(getattr(dls, "loaders", [])) and len(dls.train_ds):
            classes = list(getattr(dls, "vocab", None) or []) or None
            self.ledger = LabelLedger(given_labels(dls.train_ds), classes)
            self.history = SCNHistory(len(self.ledger.given), len(self.ledger.classes))

    def _use_head(self, head: ImportanceHead) -> None:
        """From now on this is the network's head; its checkpoints carry the ledger."""
        self._head = head
        if self.ledger is not None:
            head.ledger_state = self.ledger.state
            head.load_ledger = self.ledger.load_state if self.restore_ledger else None

    @property
    def index(self) -> torch.Tensor | None:
        """Positions in the training set of the running training batch's samples, [B]; None outside of one."""
        return self._index

    def doctor(self) -> str:
        """The alpha doctor's sentence: whether alpha is doing anything, and what to change if not."""
        return self.history.doctor(self.settings.rank_margin).sentence

    # -- the loop, event by event -------------------------------------------------------------------------

    def before_fit(self) -> None:
        """Check what would train silently wrong; start the records."""
        learn = self.learn
        self._drop_columns()  # an interrupted fit left them
        if learn.lock.locked() or learn.opt is None:  # validate(), get_preds() and summary() fire this event too
            return
        self._check()
        self._start_records(learn.dls)
        head = find_head(learn.model)
        if head is None:  # a new network was put in place of the first
            self._attach(learn)
        else:
            self._use_head(head)
        train_head(learn.opt, self._head)
        self._watching, self._ended = not hasattr(learn, "lr_finder"), False
        if self._watching:
            self.ledger.to(learn.dls.device or "cpu")
            self._add_columns()
            if self.saved is not None:
                self.saved = Run.of_learner(self.saved, learn, self)

    def before_train(self) -> None:
        """Drop what an interrupted epoch left, and listen to the order in which samples are drawn."""
        self._position = 0
        self._weighs, self._aside = may_weight(self.settings, *self._time()), None
        if not self._watching:
            return
        if self.saved is not None:
            self.saved.resume_random_state(self.learn)
        record_order(self.learn.dls.train)
        self.ledger.rollback()
        device = self.ledger.current.device
        self.history.begin_epoch(device)
        self._disagreed = torch.zeros((), dtype=torch.int64, device=device)
        self._relabels = may_relabel(self.settings, self.ledger, *self._time())
        self._early = learns_early(self.settings, *self._time())
        if self._weighs:
            self._aside = who_is_aside(self.settings, self.ledger, self.history)

    def before_batch(self) -> None:
        """Replace the labels of a training batch by the ledger's."""
        if not (self.training and self._watching):
            return
        target = self.learn.yb[0]
        kind, target = type(target), target.as_subclass(torch.Tensor)
        self._index = batch_index(self.learn.dl, self._position, len(target), target.device)
        self._position += len(target)
        self._disagreed += (self.ledger.given[self._index] != target).sum()
        label = self.ledger.labels(self._index, target)
        self.learn.yb = (label.as_subclass(kind),)

    def after_pred(self) -> None:
        """Weight the logits by alpha, so that the Learner's own loss computes WCE (Eq. 2), but of nobody set aside."""
        if not self.training:
            if self.settings.weighted_inference:
                self.learn.pred = weighted_logits(self.learn.pred.float(), self._head.alpha)
            return
        if self._watching and self.history.epoch == 0 and self._position <= self.learn.dl.bs:
            self._check_output()
        # Alpha of the whole batch, that of other processes too: groups and mean are those of all.
        self._alpha = gather(self._head.alpha.as_subclass(torch.Tensor))
        self._logits = self.learn.pred.as_subclass(torch.Tensor)
        if not self._weighs:
            self._weight = torch.ones_like(self._alpha)
            return
        self._weight = relative_importance(self._alpha) if self.settings.relative else self._alpha
        if self.settings.weight:
            self.learn.pred = weighted_logits(self._logits.float(), own_part(self._weight))
        if self._aside is not None:  # their labels teach nothing; their averaged predictions do (after_loss)
            self._trained = self.learn.pred
            self.learn.pred = hold_gradient(self._trained, self._aside[self._index])

    def after_loss(self) -> None:
        """Add the rank regularization loss (Eq. 3), and what averaged predictions teach."""
        if not self.training:
            return
        s, wce = self.settings, self.learn.loss_grad
        loss = wce
        margin = s.rank_margin if self._head.margin is None else self._head.margin
        rank_loss = rank_regularization(self._alpha, s.beta, margin)
        if self._watching:
            high, low = group_means(self._alpha.detach(), s.beta)
            self.history.add(wce=mean_of_all(wce), rank=rank_loss, alpha_high=high, alpha_low=low)
        if self._aside is not None:  # wce still counts their labels, without gradient: the Learner's loss is a mean
            evidence, aside = self.history.evidence[self._index], self._aside[self._index]
            loss = loss + evidence_cross_entropy(self._trained, evidence, aside)
        if self._early and self._watching:
            target = early_targets(s, self.ledger, self.history, self._index, self._logits)
            loss = loss + early_learning(self._logits, target, s.early_learning)
        if s.rank and self._weighs:
            loss = combine_losses(rank_loss, loss, s.gamma, s.combine)
        if loss is not wce:
            self.learn.loss_grad, self.learn.loss = loss, loss.detach().clone()
        if n_processes() > 1:  # which wait for a gradient of every weight, also of those that take no part yet
            self.learn.loss_grad = self.learn.loss_grad + 0 * (rank_loss + self._alpha.sum())

    def before_step(self) -> None:
        """Many processes: weights that take no part have no gradient, as in one process, and so do not decay."""
        if n_processes() > 1 and not (self._weighs and (self.settings.weight or self.settings.rank)):
            for p in self._head.own_parameters():
                p.grad = None

    def after_batch(self) -> None:
        """Note alpha, logits and evidence of the batch; relabel by it if the evidence is that of the step."""
        if self.training and self._watching:
            self._observe()
        self._alpha = self._logits = self._weight = self._index = self._trained = None
        if self._head is not None:
            self._head.clear()

    def after_train(self) -> None:
        """End the epoch: relabel by averaged evidence, write the ledger's rows, move the history to the host."""
        if not self._watching or self._position == 0:
            return
        self._check_epoch()
        if self.settings.evidence == "averaged":
            self._relabels = may_relabel(self.settings, self.ledger, *self._time())
            if self._relabels:
                relabel_all(self.settings, self.ledger, self.history)
        trained_on = self.ledger.before_epoch()
        relabeled = self.ledger.flush(self.history.epoch)
        now = self.history.now_logits, ~self.history.now_alpha.isnan()
        self.history.end_epoch(
            relabeled=relabeled,
            changed=int((self.ledger.current != self.ledger.given).sum()),
            relabeling=self._relabels,
            weighting=self._weighs,
            weighted=self._weighs and self.settings.weight,
            relative=self.settings.relative,
            aside=0 if self._aside is None else int(self._aside.sum()),
            settled=self.history.settled_share(),
            train_accuracy_given=label_accuracy(*now, self.ledger.given),
            train_accuracy_current=label_accuracy(*now, trained_on),
            **({"noise_estimate": self.history.noise_estimate(self.ledger.given)} if self._averages() else {}),
            **({} if self._head.margin is None else {"rank_margin": self._head.margin.item()}),
            **({"proposed": len(self.ledger.proposals)} if self.settings.relabel == "propose" else {}),
        )
        self._ended = True

    def after_epoch(self) -> None:
        """Save the run, with the figures that validation found."""
        if not self._ended or self.learn.lock.locked():  # a validation, a skipped or a cancelled epoch
            return
        self._ended = False
        self.history.note(**self._recorded())
        if self.saved is not None and rank() == 0:
            self.saved.save_epoch(self.learn, self)

    def after_fit(self) -> None:
        """Take the extra columns off the Learner's metrics again."""
        self._drop_columns()
        if not self.learn.lock.locked():
            self._watching = False

    # -- steps -----------------------------------------------------------------------------------------------

    def _observe(self) -> None:
        s, index = self.settings, gather(self._index)
        alpha, logits = self._alpha.detach(), gather(self._logits.detach().float())
        weight, low = self._weight.detach(), low_importance(alpha, s.beta)
        size = len(self._index)
        drawn = not_padding(self.learn.dl, self._position - size, size, index.device)
        if drawn is not None:
            index, alpha, logits, weight, low = (t[drawn] for t in (index, alpha, logits, weight, low))
        self.history.see(index, alpha, logits, low)
        if self._head.margin is not None:
            self._head.margin.data.clamp_(0, 1)
        if not (self._averages() or self._relabels):
            return
        probs = (weighted_logits(logits, weight) if s.logits == "weighted" and s.weight else logits).softmax(1)
        if self._averages():
            self.history.average(index, probs, s.evidence_decay)
        else:
            relabel_batch(s, self.ledger, index, probs, alpha, low)

    def _averages(self) -> bool:
        """Whether predictions are averaged over epochs: somebody looks at them."""
        s = self.settings
        return s.evidence == "averaged" and (bool(s.relabel or s.early_learning) or s.weight_from == "settled")

    def _time(self) -> tuple:
        """What the rules that begin by themselves look at."""
        return self.history, self.learn.epoch, self.learn.n_epoch

    # -- checks ------------------------------------------------------------------------------------------------

    def _check(self) -> None:
        learn = self.learn
        acts = self.settings.weight or self.settings.rank or self.settings.relabel
        if acts and any(isinstance(cb, MixHandler) for cb in learn.cbs):
            raise SettingsError(
                "SCN cannot be combined with MixUp or CutMix, which give an image two labels and no sample of its "
                "own: remove one of the two callbacks."
            )
        check_parallel(learn.model)
        check_loader(learn.dls.train)
        if self.ledger is not None and len(self.ledger.given) != len(learn.dls.train_ds):
            raise SettingsError(
                f"The label ledger holds {len(self.ledger.given)} samples, but the training set now has "
                f"{len(learn.dls.train_ds)}: make a new SCNCallback for new data."
            )

    def _check_output(self) -> None:
        """On the first batch: the head's logits must be the network's output, and alpha one number a sample."""
        pred, logits = self.learn.pred, self._head.logits
        same = isinstance(pred, torch.Tensor) and logits is not None and pred.shape == logits.shape
        if not same or not ((pred == logits) | logits.isnan()).all():
            raise SettingsError(
                "SCN needs a classifier whose output is that of its last Linear layer, but in "
                f"{type(self.learn.model).__name__} something follows it (a softmax, say): end it in the Linear."
            )

    def _check_epoch(self) -> None:
        disagreed = int(in_all(self._disagreed))
        if disagreed:
            self.ledger.rollback()
            raise SettingsError(
                f"{disagreed} labels of this epoch belong to other samples than the loader's order says, so nothing "
                "was relabeled: a step of the data pipeline skips items (SkipItemException) or draws labels; "
                "drop the bad items before the loaders are made."
            )
        if not math.isfinite(self.history.mean("wce")):
            self.ledger.rollback()
            raise RunError(
                f"The loss became NaN or infinite in epoch {self.history.epoch}: lower the learning rate or check the "
                f"images; labels and history of the {self.history.epoch} epochs before are kept."
            )

    # -- the epoch table ---------------------------------------------------------------------------------------

    def _add_columns(self) -> None:
        proposed = ["proposed"] if self.settings.relabel == "propose" else []
        for name in ("rank", "alpha_high", "alpha_low", "changed", *proposed):
            self.learn.metrics.append(HistoryColumn(self, name))

    def _drop_columns(self) -> None:
        self.learn.metrics = [m for m in self.learn.metrics if not isinstance(m, HistoryColumn)]

    def _recorded(self) -> dict[str, float]:
        recorder = getattr(self.learn, "recorder", None)
        if recorder is None:
            return {}
        values = zip(recorder.metric_names[1:], recorder.log[1:], strict=False)
        return {name: float(value) for name, value in values if isinstance(value, (int, float))}
