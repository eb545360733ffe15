"""SCN, the Self-Cure Network, on any fastai Learner: learning with uncertain labels, step by step.

The names below are loaded when they are first used, so that ``import scn_fastai`` is quick.
"""

from importlib import import_module
from warnings import filterwarnings

# fastai decorates functions with torch.jit.script, and torch warns at import with a path of the machine in
# the text: a notebook that shows it compares equal nowhere else.
filterwarnings("ignore", message=r".*torch\.jit\.script.*", module=r"fastai\..*|torch\..*")

__version__ = "0.1.0"

_ROOMS = {
    "scn_fastai.align.aligner": ("FaceAligner",),
    "scn_fastai.core": (
        "attention_weights",
        "low_importance",
        "rank_regularization",
        "relabel",
        "scn_loss",
        "weighted_cross_entropy",
        "weighted_logits",
    ),
    "scn_fastai.data.check": ("check_images",),
    "scn_fastai.data.classes": ("class_table", "to_classes"),
    "scn_fastai.data.join": ("join",),
    "scn_fastai.data.loaders": ("face_loaders",),
    "scn_fastai.data.noise": ("face_doubt", "flip_labels"),
    "scn_fastai.data.readers.affectnet": ("read_affectnet",),
    "scn_fastai.data.readers.ferplus": ("read_ferplus",),
    "scn_fastai.data.readers.folder": ("read_csv", "read_folder"),
    "scn_fastai.data.readers.rafdb": ("read_rafdb",),
    "scn_fastai.data.readers.rendered": ("extract_faces", "rendered_faces"),
    "scn_fastai.data.readers.web": ("web_faces",),
    "scn_fastai.data.samples": ("FaceSet",),
    "scn_fastai.detect.detectors": ("detector_table",),
    "scn_fastai.explain.saliency": ("saliency",),
    "scn_fastai.training.callback": ("SCNCallback",),
    "scn_fastai.training.history": ("SCNHistory",),
    "scn_fastai.training.ledger": ("LabelLedger",),
    "scn_fastai.training.pretrained": ("load_backbone", "save_backbone"),
    "scn_fastai.training.run": ("Run",),
    "scn_fastai.training.run_images": ("run_images",),
    "scn_fastai.training.score": ("score_samples",),
    "scn_fastai.training.settings": ("SCNSettings",),
    "scn_fastai.widgets.ablation_board": ("AblationBoard",),
    "scn_fastai.widgets.alpha_explorer": ("AlphaExplorer",),
    "scn_fastai.widgets.batch_microscope": ("BatchMicroscope",),
    "scn_fastai.widgets.detector_compare": ("DetectorCompare",),
    "scn_fastai.widgets.face_grid": ("FaceGrid",),
    "scn_fastai.widgets.face_lab": ("FaceLab",),
    "scn_fastai.widgets.relabel_review": ("RelabelReview",),
    "scn_fastai.widgets.saliency_viewer": ("SaliencyViewer",),
}
_ROOM_OF = {name: room for room, names in _ROOMS.items() for name in names}
__all__ = sorted(_ROOM_OF)


def __getattr__(name: str):
    if name not in _ROOM_OF:
        raise AttributeError(f"module 'scn_fastai' has no attribute {name!r}")
    return getattr(import_module(_ROOM_OF[name]), name)


def __dir__() -> list[str]:
    return __all__
