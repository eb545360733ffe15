"""gACNN, small: gates on cells of the last feature map let covered parts count less (Li et al., TIP 2019)."""

from fastai.learner import Learner

from scn_fastai.methods.method import Method


def prepare(learn: Learner, faces=None) -> None:
    """Nothing to do: the method is its network, `GatedPatches` on the last feature map, under plain cross-entropy."""


METHOD = Method(
    name="gacnn",
    prepare=prepare,
    about="gated cells of the last feature map, and the whole of it",
    paper="Y. Li et al., Occlusion Aware Facial Expression Recognition Using CNN With Attention Mechanism, TIP 2019",
    assumes="faces are aligned, so that a cell is always the same part; labels are right",
    costs="a few layers on the last feature map; other weights than the plain network",
    network="gacnn",
)
