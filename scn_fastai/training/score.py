"""What a trained network says of any samples: alpha, prediction, probabilities, suspicion."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from scn_fastai.core.losses import weighted_logits
from scn_fastai.data.loaders import plain_loader
from scn_fastai.errors import SettingsError
from scn_fastai.training.features import eval_mode
from scn_fastai.training.head import ImportanceHead, find_head


def score_samples(learn, items=None, labels=None) -> pd.DataFrame:
    """Alpha, prediction and probabilities of any samples, none augmented.

    Args:
        learn: a Learner with SCNCallback.
        items: what ``learn.dls.test_dl`` takes (paths, images, rows of a table); None: the training set, in its
            own order, scored against the ledger's given labels.
        labels: int64 labels ``[N]`` to judge by, if there are any.

    Returns:
        DataFrame with a row per sample: alpha, predicted (class name), p_max, a column ``p_<class>`` for each
        class, and, if there are labels, p_given and suspicion = P_max - P_given (Eq. 5's left side). The
        probabilities are those of the logits that the training's loss saw: weighted by alpha itself in the
        paper's and the released settings, plain where alpha counts relative to its mean.

    Raises:
        SettingsError: the Learner has no importance head.
    """
    scn = getattr(learn, "scn", None)
    if items is None:
        dl = training_loader(learn.dls)
        labels = scn.ledger.given if labels is None and scn is not None else labels
    else:
        dl = learn.dls.test_dl(items)
    batches = (batch[0] for batch in dl)
    weighted = scn is None or scn.settings.weight and not scn.settings.relative
    return score_batches(learn.model, batches, list(learn.dls.vocab), labels, weighted)


def training_loader(dls):
    """All training samples in their own order with the transforms of validation."""
    dataset = dls.train_ds
    if hasattr(dataset, "plain"):  # the project's own loader
        return plain_loader(dls)
    return dls.test_dl(dataset.items, with_labels=False)


def score_batches(
    model: nn.Module, batches, classes: list[str], labels: Tensor | np.ndarray | None = None, weighted: bool = True
) -> pd.DataFrame:
    """`score_samples` for a network and batches of input Tensors ``[B, 3, H, W]``."""
    head = find_head(model)
    if head is None:
        raise SettingsError("This network has no importance head and so no alpha: add SCNCallback() to the Learner.")
    device = head.weight.device
    alphas, probs = [], []
    with _plain_eval(model, head), torch.no_grad():
        for x in batches:
            logits = model(x.to(device)).float()
            alphas.append(head.alpha.cpu())
            probs.append((weighted_logits(logits, head.alpha) if weighted else logits).softmax(1).cpu())
    return _table(torch.cat(alphas), torch.cat(probs), classes, labels)


def _table(alpha: Tensor, probs: Tensor, classes: list[str], labels) -> pd.DataFrame:
    p_max, best = (t.as_subclass(Tensor) for t in probs.max(1))
    table = pd.DataFrame({"alpha": alpha.as_subclass(Tensor).numpy(), "predicted": np.array(classes)[best.numpy()]})
    table["p_max"] = p_max.numpy()
    for code, name in enumerate(classes):
        table[f"p_{name}"] = probs[:, code].as_subclass(Tensor).numpy()
    if labels is not None:
        codes = torch.as_tensor(labels).cpu().long()
        table["p_given"] = probs.as_subclass(Tensor).gather(1, codes[:, None])[:, 0].numpy()
        table["suspicion"] = table["p_max"] - table["p_given"]
    return table


@contextmanager
def _plain_eval(model: nn.Module, head: ImportanceHead) -> Iterator[None]:
    """Evaluation mode with alpha kept; afterwards everything is as before."""
    keeps, head.keep_alpha = head.keep_alpha, True
    try:
        with eval_mode(model):
            yield
    finally:
        head.keep_alpha = keeps
        head.clear()
