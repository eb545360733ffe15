"""Detectors of wrong or uncertain samples by name, each with a card, and one table that compares them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch

from scn_fastai.detect import dynamics
from scn_fastai.detect.confident import confident_doubt
from scn_fastai.detect.cycles import o2u
from scn_fastai.detect.metrics import detection_figures, figures_frame, rank_correlation, vote_entropy
from scn_fastai.detect.neighbours import knn_disagreement
from scn_fastai.errors import DataError, RunError, SCNError, SettingsError
from scn_fastai.training.history import SCNHistory
from scn_fastai.training.run import Run

WHERE = {
    "history": "the history of a training",
    "features": "features of every sample (`run_features`, or scn detect --features)",
    "out_of_fold": "out-of-fold probabilities (`out_of_fold`, or scn detect --folds 5)",
    "held_out_alpha": "alpha of networks that did not train on the sample (`out_of_fold`, or scn detect --folds 5)",
    "cyclic": "the history of a training with a cyclic learning rate (`train_cyclic`, or scn detect --cyclic 20)",
    "density": "densities of the faces, noted by a run of the recipe curriculumnet",
    "metacleaner": "confidences in the faces, noted by a run of the recipe metacleaner",
}
# What a recipe noted of each sample while it trained: by the name of its callback, and its name there.
NOTED = {"density": ("curriculum_net", "density"), "metacleaner": ("meta_cleaner", "suspicion")}


@dataclass(frozen=True, eq=False)
class Evidence:
    """What is known of ``N`` samples with given labels; a detector takes from it what it needs.

    given: int64 ``[N]``. history: of a training on them. features: ``[N, D]``. out_of_fold: probabilities ``[N, C]``
    by networks that did not train on the sample, held_out_alpha ``[N]`` their alpha. cyclic: history of an O2U training
    whose cyclic stage begins in epoch cyclic_start. measured: what a method noted while it trained, ``[N]`` by name
    (density: higher is denser; metacleaner: higher is more suspicious), see `measured_by`.
    """

    given: np.ndarray
    history: SCNHistory | None = None
    features: np.ndarray | None = None
    out_of_fold: np.ndarray | None = None
    held_out_alpha: np.ndarray | None = None
    cyclic: SCNHistory | None = None
    cyclic_start: int = 0
    measured: Mapping[str, np.ndarray] = field(default_factory=dict)

    @classmethod
    def of_run(cls, run: Run, **more) -> Evidence:
        """What a run holds (see `measured_by` for what a method noted), and ``more`` of the fields.

        Raises:
            RunError: the run has no labels yet.
        """
        if run.ledger is None:
            raise RunError(f"{run.folder.name} has no labels yet: train it, or load a run that was trained.")
        more = more if "measured" in more else more | {"measured": measured_by(run)}
        return cls(run.ledger.given.cpu().numpy(), run.history, **more)

    def get(self, need: str):
        """The evidence of that name, or None."""
        return self.measured.get(need) if need in NOTED else getattr(self, need)


def measured_by(run: Run) -> dict[str, np.ndarray]:
    """What the recipe of a run noted of each sample, ``[N]`` by the names of `NOTED`; most recipes note nothing.

    It lies in the file that the run is resumed from; where that is missing or damaged, nothing is known.
    """
    file = run.folder / "resume" / "state.pt"
    try:  # as a map: most of the file is the optimizer's state, which is not looked at
        states = torch.load(file, weights_only=True, map_location="cpu", mmap=True)["callbacks"]
    except Exception:  # torch.load raises many kinds
        return {}
    found = {need: states.get(callback, {}).get(name) for need, (callback, name) in NOTED.items()}
    return {need: np.array(values.numpy(), float) for need, values in found.items() if values is not None}


@dataclass(frozen=True)
class Detector:
    """A score of suspicion and its card; ``score(evidence)`` gives float64 ``[N]``, higher is more suspicious."""

    name: str
    score: Callable[[Evidence], np.ndarray]
    needs: str  # a key of WHERE
    about: str
    assumes: str
    costs: str
    source: str


FREE = "nothing: it is in the history"
SCN = "K. Wang et al., Suppressing Uncertainties for Large-Scale FER, CVPR 2020"
MAPS = "S. Swayamdipta et al., Dataset Cartography, EMNLP 2020"
CONFIDENT = "C. Northcutt et al., Confident Learning, JAIR 2021 (cleanlab)"
NO_LABEL = "that alpha learned quality by itself: it does not see the label"
EARLY = "the network learns true labels before it learns wrong ones by heart"
K_TIMES = "K trainings"


def _history(name: str, score: Callable, about: str, assumes: str, source: str) -> Detector:
    return Detector(name, lambda e: score(e.history, e.given), "history", about, assumes, FREE, source)


_ALL = (
    _history("alpha", lambda h, y: dynamics.alpha_doubt(h), "1 - alpha, last epoch", NO_LABEL, SCN + ", Eq. 1"),
    _history("alpha_mean", lambda h, y: dynamics.alpha_doubt(h, None), "1 - alpha, mean of the epochs", NO_LABEL, SCN),
    _history("alpha_within", lambda h, y: dynamics.within_class(dynamics.alpha_doubt(h), y),
             "1 - alpha, rank within the given class", NO_LABEL, SCN),
    Detector("alpha_held_out", lambda e: 1 - np.asarray(e.held_out_alpha, float), "held_out_alpha",
             "1 - alpha by networks that did not train on the sample", NO_LABEL, K_TIMES, SCN),
    _history("loss", dynamics.loss, "cross-entropy, last epoch", "wrong labels are not yet learned by heart", "-"),
    _history("loss_mean", lambda h, y: dynamics.loss(h, y, None), "cross-entropy, mean of the epochs", EARLY, "-"),
    _history("gap_raw", dynamics.prediction_gap, "P_max - P_given, last epoch, plain logits",
             "wrong labels are not yet learned by heart", SCN + ", Eq. 5"),
    _history("gap_weighted", lambda h, y: dynamics.prediction_gap(h, y, logits="weighted"),
             "P_max - P_given, last epoch, weighted logits", "wrong labels are not yet learned by heart",
             SCN + ", Eq. 5"),
    _history("gap_averaged", dynamics.averaged_gap, "P_max - P_given of predictions averaged over epochs", EARLY,
             SCN + ", Eq. 5, averaged as the default recipe does (which ranks by P_max / P_given, under a budget)"),
    _history("aum", dynamics.aum, "minus the area under the margin", EARLY,
             "G. Pleiss et al., Identifying Mislabeled Data using the Area Under the Margin Ranking, NeurIPS 2020"),
    _history("confidence", lambda h, y: dynamics.self_confidence(h, y, None), "1 - mean p of the given label", EARLY,
             MAPS),
    _history("variability", dynamics.variability, "spread of p of the given label over epochs",
             "it marks ambiguous faces; wrong labels that stay unlearned have a low one", MAPS),
    _history("incorrectness", dynamics.incorrectness, "share of epochs that predict another class", EARLY, MAPS),
    _history("forgetting", dynamics.forgetting, "times learned and forgotten again", EARLY,
             "M. Toneva et al., An Empirical Study of Example Forgetting, ICLR 2019"),
    Detector("knn", lambda e: knn_disagreement(e.features, e.given), "features",
             "share of the 20 nearest faces with another label", "near in feature space means the same expression",
             "one pass over the samples, N x N distances", "D. Bahri et al., Deep k-NN for Noisy Labels, ICML 2020"),
    Detector("held_out", lambda e: 1 - _own(e.out_of_fold, e.given), "out_of_fold",
             "1 - p of the given label by networks that did not train on the sample",
             "most labels of each class are true", K_TIMES, CONFIDENT),
    Detector("confident", lambda e: confident_doubt(e.out_of_fold, e.given), "out_of_fold",
             "confident learning: normalised margin less class thresholds",
             "noise depends on the class, not on the face", K_TIMES, CONFIDENT),
    Detector("o2u", lambda e: o2u(e.cyclic, e.given, e.cyclic_start), "cyclic",
             "loss less its mean under a cyclic learning rate", "wrong labels are forgotten at every high rate",
             "a second stage of training with batches of 16", "J. Huang et al., O2U-Net, ICCV 2019"),
    Detector("density", lambda e: dynamics.within_class(-np.asarray(e.measured["density"], float), e.given), "density",
             "few faces of the given class nearby, rank within class", "true faces of a class lie close together",
             "a first training, N x N distances in each class", "S. Guo et al., CurriculumNet, ECCV 2018"),
    Detector("metacleaner", lambda e: np.asarray(e.measured["metacleaner"], float), "metacleaner",
             "low confidence among faces of its class", "most labels of each class are true",
             "a training with batches drawn by class", "W. Zhang et al., MetaCleaner, CVPR 2019"),
)  # fmt: skip
DETECTORS = {detector.name: detector for detector in _ALL}


def detector_scores(
    evidence: Run | Evidence, names: Iterable[str] | None = None
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Scores ``[N]`` by detector, and a sentence for each detector whose evidence is not there.

    Args:
        evidence: what is known, or a run.
        names: of detectors; None: all.

    Raises:
        SettingsError: there is no such detector.
    """
    evidence = Evidence.of_run(evidence) if isinstance(evidence, Run) else evidence
    scores, problems = {}, {}
    for name in DETECTORS if names is None else dict.fromkeys(names):
        if name not in DETECTORS:
            raise SettingsError(f"There is no detector {name!r}; there are: {', '.join(DETECTORS)}.")
        need = DETECTORS[name].needs
        if evidence.get(need) is None:
            problems[name] = f"{name} needs {WHERE[need]}, and there is none."
            continue
        try:
            scores[name] = _checked(name, DETECTORS[name].score(evidence), len(evidence.given))
        except SCNError as error:
            problems[name] = str(error)
    return scores, problems


def detector_table(
    source: Run | Evidence,
    truth: np.ndarray | None = None,
    detectors: Iterable[str] | None = None,
    classes: list[str] | None = None,
    votes: np.ndarray | None = None,
    n_boot: int = 200,
    seed: int = 0,
) -> pd.DataFrame:
    """A row for each detector: how well it finds the wrong labels, overall and within given class, with intervals.

    Args:
        source: a run, or what is known of the samples.
        truth: true label codes ``[N]``; None takes the run's. A label is wrong where the given one differs.
        detectors: names from `DETECTORS`; None: all.
        classes: class names; None takes the run's.
        votes: ``[N, C]`` votes of a crowd: the column spearman is then the rank correlation with their entropy; None
            takes the run's where it has some.
        n_boot: bootstrap resamples.
        seed: of the resamples.

    Returns:
        DataFrame, best AUROC first: detector, n, wrong, auroc, ap, p_at_k, the same ``_within`` class, each with
        ``_low`` and ``_high`` (see `detection_figures`), spearman, undefined (classes without right or without wrong
        samples), and problem: why there are no figures.

    Raises:
        RunError: the true labels are not known.
        SettingsError: there is no such detector.
    """
    if isinstance(source, Run):
        truth = _truth_of(source) if truth is None else truth
        classes, votes = classes or source.classes, votes_of(source) if votes is None else votes
        source = Evidence.of_run(source)
    if truth is None:
        raise RunError("Without true labels there is nothing to judge by: pass truth=..., codes [N].")
    scores, problems = detector_scores(source, detectors)
    return table_of_scores(scores, problems, source.given, truth, classes, votes, n_boot, seed)


def table_of_scores(scores, problems, given, truth, classes=None, votes=None, n_boot=200, seed=0) -> pd.DataFrame:
    """`detector_table` for what `detector_scores` gave."""
    given, truth = np.asarray(given), np.asarray(truth)
    if given.shape != truth.shape:
        raise DataError(f"There are {len(given):,} given labels but {len(truth):,} true ones: give one for each.")
    if votes is not None and len(votes) != len(given):
        raise DataError(f"There are votes on {len(votes):,} samples but {len(given):,} labels: give votes on each.")
    entropy = None if votes is None else vote_entropy(votes)
    rows = []
    for name, score in scores.items():
        row = {"detector": name, **detection_figures(score, given != truth, given, classes, n_boot, seed)}
        rows.append(row | ({} if entropy is None else {"spearman": rank_correlation(score, entropy)}))
    rows += [{"detector": name, "problem": words} for name, words in problems.items()]
    table = figures_frame(rows).sort_values("auroc", ascending=False, kind="stable", na_position="last")
    return table.reset_index(drop=True)


def votes_of(run: Run) -> np.ndarray | None:
    """Votes of the training samples ``[N, C]`` in the order of the classes, or None where the table has none."""
    table, names = run.train_samples, [f"vote_{name}" for name in run.classes]
    if not set(names) <= set(table.columns):
        return None
    return table[names].fillna(0).to_numpy(float)


def _truth_of(run: Run) -> np.ndarray:
    if run.truth is None:
        raise RunError(f"{run.folder.name} does not know the true labels, so no detector can be judged: pass truth=...")
    return run.truth.numpy()


def _own(probs: np.ndarray, given: np.ndarray) -> np.ndarray:
    probs = np.asarray(probs, float)
    if probs.ndim != 2 or len(probs) != len(given):
        raise DataError(f"There are probabilities {list(probs.shape)} for {len(given):,} samples: give [N, C].")
    return probs[np.arange(len(given)), given]


def _checked(name: str, score: np.ndarray, n: int) -> np.ndarray:
    score = np.asarray(score, float)
    if score.shape != (n,):
        raise DataError(f"{name} gave {list(score.shape)} scores for {n:,} samples: its evidence is of other samples.")
    return score
