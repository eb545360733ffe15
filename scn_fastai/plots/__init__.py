"""Pictures: plain data in, a plotly Figure, a PNG or an HTML page out; nothing is shown, nothing is changed."""

from scn_fastai.plots.ablation import figure5, module_dots, setting_curve
from scn_fastai.plots.alpha import alpha_histogram
from scn_fastai.plots.angles import Directions, angles_figure
from scn_fastai.plots.batch import batch_figure
from scn_fastai.plots.changes import change_map
from scn_fastai.plots.comparison import accuracy_dots, write_comparison
from scn_fastai.plots.curves import compare_curves, training_curves
from scn_fastai.plots.detect import detector_bars, precision_curves, rank_scatter
from scn_fastai.plots.explorer import explorer_figure
from scn_fastai.plots.face_lab import face_lab_figure, face_lab_png
from scn_fastai.plots.faces import alpha_ranking, before_after, face_grid
from scn_fastai.plots.kinds import alpha_by_kind, kind_ranking
from scn_fastai.plots.life import life_figure
from scn_fastai.plots.noise import noise_estimates, noise_levels
from scn_fastai.plots.paper import certain_to_uncertain, certain_to_uncertain_png, guess_the_label, guess_the_label_png
from scn_fastai.plots.photograph import Marked, photograph_figure, photograph_png
from scn_fastai.plots.pipeline import pipeline_figure, pipeline_png
from scn_fastai.plots.report import write_report
from scn_fastai.plots.review import figure3, figure3_png, telling_changes
from scn_fastai.plots.saliency import saliency_grid, saliency_grid_png
from scn_fastai.plots.static import (
    alpha_by_kind_png,
    alpha_ranking_png,
    before_after_png,
    curves_png,
    face_grid_png,
    histogram_png,
    kind_ranking_png,
)
from scn_fastai.plots.static_ablation import accuracy_dots_png, figure5_png, module_dots_png, setting_curve_png
from scn_fastai.plots.static_angles import angles_png
from scn_fastai.plots.static_batch import batch_png
from scn_fastai.plots.static_changes import change_map_png
from scn_fastai.plots.static_detect import detector_bars_png, precision_curves_png, rank_scatter_png
from scn_fastai.plots.static_explorer import explorer_png
from scn_fastai.plots.static_noise import noise_estimates_png, noise_levels_png
from scn_fastai.plots.style import STATES, label_states

__all__ = [
    "Directions",
    "Marked",
    "STATES",
    "accuracy_dots",
    "accuracy_dots_png",
    "alpha_by_kind",
    "alpha_by_kind_png",
    "alpha_histogram",
    "alpha_ranking",
    "alpha_ranking_png",
    "angles_figure",
    "angles_png",
    "batch_figure",
    "batch_png",
    "before_after",
    "before_after_png",
    "certain_to_uncertain",
    "certain_to_uncertain_png",
    "change_map",
    "change_map_png",
    "compare_curves",
    "curves_png",
    "detector_bars",
    "detector_bars_png",
    "explorer_figure",
    "explorer_png",
    "face_grid",
    "face_grid_png",
    "face_lab_figure",
    "face_lab_png",
    "figure3",
    "figure3_png",
    "figure5",
    "figure5_png",
    "guess_the_label",
    "guess_the_label_png",
    "histogram_png",
    "kind_ranking",
    "kind_ranking_png",
    "label_states",
    "life_figure",
    "module_dots",
    "module_dots_png",
    "noise_estimates",
    "noise_estimates_png",
    "noise_levels",
    "noise_levels_png",
    "photograph_figure",
    "photograph_png",
    "pipeline_figure",
    "pipeline_png",
    "precision_curves",
    "precision_curves_png",
    "rank_scatter",
    "rank_scatter_png",
    "saliency_grid",
    "saliency_grid_png",
    "setting_curve",
    "setting_curve_png",
    "telling_changes",
    "training_curves",
    "write_comparison",
    "write_report",
]
