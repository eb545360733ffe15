"""Pictures: plain data in, a plotly Figure, a PNG or an HTML page out; nothing is shown, nothing is changed."""

from scn_fastai.plots.alpha import alpha_histogram
from scn_fastai.plots.changes import change_map
from scn_fastai.plots.comparison import accuracy_dots, write_comparison
from scn_fastai.plots.curves import compare_curves, training_curves
from scn_fastai.plots.face_lab import face_lab_figure, face_lab_png
from scn_fastai.plots.faces import alpha_ranking, before_after, face_grid
from scn_fastai.plots.kinds import alpha_by_kind, kind_ranking
from scn_fastai.plots.report import write_report
from scn_fastai.plots.static import (
    alpha_by_kind_png,
    alpha_ranking_png,
    before_after_png,
    curves_png,
    face_grid_png,
    histogram_png,
    kind_ranking_png,
)
from scn_fastai.plots.style import STATES, label_states

__all__ = [
    "STATES",
    "accuracy_dots",
    "alpha_by_kind",
    "alpha_by_kind_png",
    "alpha_histogram",
    "alpha_ranking",
    "alpha_ranking_png",
    "before_after",
    "before_after_png",
    "change_map",
    "compare_curves",
    "curves_png",
    "face_grid",
    "face_grid_png",
    "face_lab_figure",
    "face_lab_png",
    "histogram_png",
    "kind_ranking",
    "kind_ranking_png",
    "label_states",
    "training_curves",
    "write_comparison",
    "write_report",
]
