"""SCN beside the rest of fastai: what users combine it with goes on working, and stays untouched by it."""

import copy
import io
import pickle
import subprocess
import sys
import warnings

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pandas as pd
import pytest
import torch
from fastai.callback.core import Callback
from fastai.callback.fp16 import MixedPrecision
from fastai.callback.progress import CSVLogger, ProgressCallback, ShowGraphCallback
from fastai.callback.schedule import fine_tune, fit_one_cycle, lr_find  # noqa: F401  (patch Learner)
from fastai.callback.tracker import EarlyStoppingCallback, SaveModelCallback, TerminateOnNaNCallback
from fastai.callback.training import GradientAccumulation, GradientClip, ShortEpochCallback
from fastai.interpret import ClassificationInterpretation
from fastai.learner import Learner, Recorder, ValueMetric, load_learner
from fastai.losses import CrossEntropyLossFlat
from fastai.metrics import accuracy
from fastai.optimizer import SGD
from fastai.vision.augment import aug_transforms
from fastai.vision.data import ImageDataLoaders
from fastai.vision.learner import vision_learner
from matplotlib import pyplot as plt
from torchvision.models import resnet18

from scn_fastai import SCNCallback
from scn_fastai.errors import DataError, SettingsError
from scn_fastai.training.head import ImportanceHead, find_head
from scn_fastai.training.network import CPUAutocast


@pytest.fixture
def dls(pictures, tiny):
    options = {"train": "train", "valid": "valid", "bs": 8, "num_workers": 0, "device": "cpu"}
    return ImageDataLoaders.from_folder(pictures.path, **options)


@pytest.fixture
def picture_learner(dls, tools, tmp_path):
    """A function: a Learner on the pictures with a network of one convolution."""

    def make(cbs=None, **options):
        options = {"metrics": accuracy, "path": tmp_path} | options
        return tools.quiet(Learner(dls, tools.small_cnn(), CrossEntropyLossFlat(), cbs=cbs, **options))

    return make


def weights(learn):
    return {k: v.clone() for k, v in learn.model.state_dict().items() if isinstance(v, torch.Tensor)}


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


# ---- Learners of all kinds ----------------------------------------------------------------------------------------


def test_the_call_of_the_readme(dls, tools, tmp_path):
    learn = vision_learner(dls, resnet18, pretrained=False, metrics=accuracy, cbs=SCNCallback(), path=tmp_path)
    learn.scn.settings = learn.scn.settings.change(weight_from=0)  # two epochs are too few for the rule
    head = find_head(learn.model)
    assert isinstance(head.dropout, torch.nn.Dropout) and head is learn.model[1][-1]  # fastai's Dropout moved in
    assert tools.trained(learn, lambda: tools.quiet(learn).fit(2))
    assert learn.scn.ledger.frame().columns[:4].tolist() == ["epoch", "sample", "old", "new"]
    assert learn.scn.history.frame()["epoch"].tolist() == [0, 1] and learn.scn.ledger.classes == list(dls.vocab)


def own(classes):
    class Own(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.features = torch.nn.Conv2d(3, 8, 3, stride=4)
            self.answer = torch.nn.Linear(8, classes)

        def forward(self, x):
            return self.answer(self.features(x).mean((2, 3)))

    return Own()


def torchvisions(classes):
    return resnet18(weights=None, num_classes=classes)


def timms(classes):
    timm = pytest.importorskip("timm")
    return timm.create_model("resnet10t", pretrained=False, num_classes=classes)


@pytest.mark.parametrize("network", [own, torchvisions, timms], ids=lambda f: f.__name__)
def test_any_network_that_ends_in_a_linear_layer(network, dls, tools):
    learn = tools.quiet(Learner(dls, network(3), CrossEntropyLossFlat(), metrics=accuracy, cbs=SCNCallback("paper")))
    x = dls.valid.one_batch()[0]
    assert tools.trained(learn, lambda: learn.fit(1))
    found = learn.model.eval()(x)
    learn.remove_cb(SCNCallback)
    assert torch.equal(learn.model.eval()(x), found)


# ---- callbacks beside it ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["to_fp16", "to_bf16"])
def test_fastais_mixed_precision_changes_nothing_on_a_cpu(method, picture_learner, seed_everything):
    found = []
    for half in (False, True):
        torch.manual_seed(1)
        learn = picture_learner(SCNCallback(relabel_from=1))
        seed_everything(2, learn)
        if half:
            getattr(learn, method)()
            assert any(isinstance(cb, MixedPrecision) for cb in learn.cbs)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch says that there is no CUDA device
            learn.fit(2)
        found.append(weights(learn))
    if not torch.cuda.is_available():
        assert equal(*found)


def test_alpha_is_float32_under_bfloat16(picture_learner):
    class Look(Callback):
        order = 6
        seen = ()

        def after_pred(self):
            if self.training:
                head = find_head(self.learn.model)
                self.seen += ((head.alpha.dtype, head.logits.dtype, self.learn.pred.dtype),)

    learn = picture_learner([SCNCallback("paper"), CPUAutocast(), look := Look()])
    learn.fit(1)
    assert set(look.seen) == {(torch.float32, torch.bfloat16, torch.float32)}
    assert not torch.is_autocast_enabled("cpu") and len(np.unique(learn.scn.history.alpha[0])) > 30


def test_autocast_ends_with_a_fit_that_follows_an_interrupt(picture_learner):
    class Stop(Callback):
        order = 12

        def after_pred(self):
            raise KeyboardInterrupt

    learn = picture_learner([SCNCallback(), CPUAutocast()])
    with pytest.raises(KeyboardInterrupt):
        learn.fit(1, cbs=Stop())
    learn.fit(1)
    assert not torch.is_autocast_enabled("cpu")


def test_gradients_accumulate_to_the_step_of_one_large_batch(picture_learner, blobs, blob_learner, seed_everything):
    """With the rank loss off: its groups are those of a micro-batch, which the sum cannot undo."""
    found = []
    for bs, extra in ((80, []), (40, [GradientAccumulation(80)])):
        torch.manual_seed(1)
        scn = SCNCallback("paper", rank=False, relabel=False)
        learn = blob_learner(blobs, [scn, *extra], bs=bs, opt_func=SGD, wd=0)
        seed_everything(2, learn)
        learn.fit(2, 0.1)
        found.append(list(learn.model.parameters()))
        assert scn.history.frame()["seen"].tolist() == [240, 240]
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("cbs", [GradientClip(0.1), ShortEpochCallback(0.5), TerminateOnNaNCallback()], ids=repr)
def test_others_beside_it(cbs, picture_learner, tools):
    learn = picture_learner([SCNCallback(relabel_from=1, weight_from=0), cbs])
    assert tools.trained(learn, lambda: learn.fit(3))
    assert learn.scn.history.frame()["epoch"].tolist() == [0, 1, 2]


def test_csv_logger_writes_our_columns(picture_learner, tmp_path):
    learn = picture_learner([SCNCallback(relabel_from=1), CSVLogger()])
    learn.fit(2)
    table = pd.read_csv(tmp_path / "history.csv")
    frame = learn.scn.history.frame()
    np.testing.assert_allclose(table[["rank", "alpha_low", "accuracy"]], frame[["rank", "alpha_low", "accuracy"]])


def test_bars_and_graphs(picture_learner, capsys):
    learn = picture_learner(SCNCallback()).add_cbs([ProgressCallback(), ShowGraphCallback()])
    learn.fit(2)
    assert "Epoch 2/2" in capsys.readouterr().out and all(len(row) == 7 for row in learn.recorder.values)
    plt.close("all")


def test_metrics_of_training_too(dls, tools):
    learn = Learner(dls, tools.small_cnn(), CrossEntropyLossFlat(), metrics=accuracy, cbs=SCNCallback())
    learn.remove_cbs([Recorder, ProgressCallback])
    learn.add_cb(Recorder(train_metrics=True))
    learn.fit(1)
    assert {"train_accuracy", "valid_accuracy"} <= set(learn.scn.history.frame())


def test_early_stopping_stops(picture_learner):
    learn = picture_learner([SCNCallback(), EarlyStoppingCallback("rank", min_delta=10, patience=1)])
    learn.fit(9)
    assert learn.scn.history.epoch == 2


# ---- fits ---------------------------------------------------------------------------------------------------------


def test_lr_find_leaves_labels_history_and_weights_as_they_were(picture_learner):
    learn = picture_learner(scn := SCNCallback("paper", relabel_from=1, scope="all", relabel_margin=0))
    learn.fit(3)
    scn.ledger.override(4, "sad")
    before, labels, rows, frame = weights(learn), scn.ledger.current.clone(), scn.ledger.rows(), scn.history.frame()
    learn.lr_find(num_it=12, show_plot=False)
    assert equal(weights(learn), before) and scn.history.frame().equals(frame)
    assert torch.equal(scn.ledger.current, labels) and scn.ledger.rows().equals(rows)
    assert len(rows) and [m.name for m in learn.metrics] == ["accuracy"]
    learn.fit(1)
    assert scn.history.epoch == 4 and scn.ledger.current[4] == 2


def test_lr_find_comes_first_in_most_notebooks(picture_learner, tools):
    learn = picture_learner(SCNCallback(weight_from=0))
    learn.lr_find(num_it=6, show_plot=False)
    assert learn.scn.history.epoch == 0 and tools.trained(learn, lambda: learn.fit_one_cycle(1, 0.01))


def test_fine_tune_counts_its_two_fits_as_one_training(dls, tools, tmp_path):
    scn = SCNCallback(relabel_from=2, weight_from=0, relabel_margin=0.0)
    learn = tools.quiet(vision_learner(dls, resnet18, pretrained=False, cbs=scn, path=tmp_path))
    assert tools.trained(learn, lambda: learn.fine_tune(2, 0.01))
    assert scn.history.frame()["epoch"].tolist() == [0, 1, 2] and (scn.ledger.frame()["epoch"] == 2).all()


def test_freezing_keeps_alpha_in_training(dls, tools, tmp_path):
    learn = tools.quiet(vision_learner(dls, resnet18, pretrained=False, cbs=SCNCallback("paper"), path=tmp_path))
    learn.freeze()
    body = [p.clone() for p in learn.model[0].parameters() if not p.requires_grad]
    assert body and tools.trained(learn, lambda: learn.fit(1))
    frozen = [p for p in learn.model[0].parameters() if not p.requires_grad]
    assert all(torch.equal(a, b) for a, b in zip(body, frozen, strict=True))


def test_fit_one_cycle_goes_on_at_a_start_epoch(picture_learner):
    learn = picture_learner(SCNCallback())
    learn.fit_one_cycle(4, 0.01, start_epoch=2)
    assert learn.scn.history.frame()["epoch"].tolist() == [0, 1]


# ---- prediction ---------------------------------------------------------------------------------------------------


def test_predicting_and_showing_leave_the_records_alone(picture_learner, pictures):
    learn = picture_learner(scn := SCNCallback(relabel_from=1, relabel_margin=0.0))
    learn.fit(3)
    before, ledger, frame, order = weights(learn), scn.ledger.state(), scn.history.frame(), learn.dls.train.drawn_order
    path = pictures.path / pictures.table["name"][0]
    label, code, probs = learn.predict(path)
    assert label in learn.dls.vocab and probs.sum().item() == pytest.approx(1, abs=1e-5)
    for ds in (0, 1):
        preds, _ = learn.get_preds(ds_idx=ds)
        assert len(preds) == len(learn.dls[ds].dataset)
    learn.validate()
    learn.show_results()
    interp = ClassificationInterpretation.from_learner(learn)
    assert interp.confusion_matrix().sum() == len(learn.dls.valid_ds)
    interp.plot_confusion_matrix()
    interp.plot_top_losses(4)
    plt.close("all")
    assert equal(weights(learn), before) and equal(scn.ledger.state(), ledger) and scn.history.frame().equals(frame)
    assert torch.equal(learn.dls.train.drawn_order, order)


@pytest.mark.parametrize("stopped", [False, True])
def test_an_export_holds_no_training_data(stopped, picture_learner, pictures, tmp_path):
    class Stop(Callback):
        order = 8

        def after_loss(self):
            if self.training:
                raise KeyboardInterrupt

    scn = SCNCallback(relabel_from=1, relabel_margin=0.0)
    learn = picture_learner(scn)
    learn.fit(3)
    assert len(scn.ledger)
    if stopped:
        with pytest.raises(KeyboardInterrupt):
            learn.fit(1, cbs=Stop())
    path = pictures.path / pictures.table["name"][0]
    said, rows = learn.predict(path)[2], scn.ledger.frame()
    learn.export("model.pkl")
    assert scn.ledger.frame().equals(rows) and scn.history.epoch == 3  # they are only left out of the file
    written = (tmp_path / "model.pkl").read_bytes()
    assert len(written) < 200_000 and b".png" not in written  # the network and the transforms, no file name
    loaded = load_learner(tmp_path / "model.pkl")
    assert torch.equal(loaded.predict(path)[2], said)
    other = loaded.scn
    assert (other.ledger, other.history, other.saved, other._index) == (None, None, None, None)
    assert find_head(loaded.model).ledger_state is None and len(loaded.dls.train_ds) == 0
    files = [pictures.path / name for name in pictures.table["name"][:5]]
    assert len(loaded.validate(dl=loaded.dls.test_dl(files, with_labels=True))) == 2
    learn.fit(1)  # exporting disturbed nothing
    assert scn.history.epoch == 4


@pytest.mark.parametrize("fitted", [False, True])
def test_an_export_without_the_callback_needs_nothing_of_ours(fitted, picture_learner, tmp_path):
    learn = picture_learner(SCNCallback())
    if fitted:
        learn.fit(1)
    learn.remove_cb(SCNCallback)
    learn.export("plain.pkl")
    assert b"scn_fastai" not in (tmp_path / "plain.pkl").read_bytes()
    assert load_learner(tmp_path / "plain.pkl").model[-1].out_features == 3


def test_a_loaded_learner_can_be_trained_on_other_data(picture_learner, dls, tmp_path, tools):
    learn = picture_learner(SCNCallback(weight_from=0))
    learn.fit(1)
    learn.export("model.pkl")
    loaded = tools.quiet(load_learner(tmp_path / "model.pkl"))
    loaded.dls = dls
    assert tools.trained(loaded, lambda: loaded.fit(1)) and loaded.scn.history.epoch == 1
    assert len(loaded.scn.ledger.given) == len(dls.train_ds)


def test_a_callback_pickles_without_its_records(picture_learner):
    learn = picture_learner(SCNCallback("paper", beta=0.6))
    learn.fit(1)
    learn.remove_cb(scn := learn.scn)
    twin = pickle.loads(pickle.dumps(scn))
    assert twin.settings == scn.settings and twin.ledger is None and scn.ledger is not None


def test_a_callback_is_on_one_learner_at_a_time(picture_learner):
    scn = SCNCallback()
    first = picture_learner(scn)
    first.fit(1)
    with pytest.raises(SettingsError, match="holds the labels and the history of another Learner: make a new one"):
        picture_learner(scn)
    first.remove_cb(scn)
    picture_learner(scn)


def test_a_summary_can_be_asked_for_before_the_first_fit(picture_learner):
    assert "Total params" in str(picture_learner(SCNCallback()).summary())


def test_loaders_are_pickled_after_a_fit_as_before(picture_learner):
    learn = picture_learner(SCNCallback())
    learn.fit(1)
    twin = pickle.loads(pickle.dumps(learn.dls.train))
    assert len(list(twin)) == len(learn.dls.train)


def test_a_learner_can_be_copied(picture_learner):
    learn = picture_learner(SCNCallback())
    learn.fit(1)
    twin = copy.deepcopy(learn)
    assert isinstance(find_head(twin.model), ImportanceHead) and twin.scn.ledger is None


# ---- checkpoints --------------------------------------------------------------------------------------------------


def test_a_checkpoint_brings_the_labels_of_its_epoch(picture_learner):
    learn = picture_learner(scn := SCNCallback("paper", relabel_from=1, scope="all", relabel_margin=0))
    learn.fit(2, 0.01)
    learn.save("two")
    labels, rows, then = scn.ledger.current.clone(), scn.ledger.frame(), weights(learn)
    learn.fit(3, 0.01)
    assert not torch.equal(scn.ledger.current, labels)
    learn.load("two")
    assert torch.equal(scn.ledger.current, labels) and scn.ledger.frame().equals(rows) and equal(weights(learn), then)
    learn.fit(1)


class SecondEpochIsBest(ValueMetric):
    """A figure that SaveModelCallback finds best in the second epoch."""

    def __init__(self, learn):
        super().__init__(lambda: -abs(learn.epoch - 1), "closeness")


def test_the_best_epoch_brings_its_labels(picture_learner):
    scn = SCNCallback("paper", relabel_from=1, scope="all", relabel_margin=0)
    learn = picture_learner(scn)
    learn.metrics = [SecondEpochIsBest(learn)]
    learn.fit(5, 0.01, cbs=SaveModelCallback("closeness", comp=np.greater))
    assert scn.history.epoch == 5 and scn.ledger.frame()["epoch"].tolist() == [1] * len(scn.ledger)
    assert len(scn.ledger) and torch.equal(scn.ledger.current, scn.ledger.at(1))


def test_restore_ledger_false_takes_the_weights_alone(picture_learner):
    scn = SCNCallback("paper", relabel_from=1, scope="all", relabel_margin=0, restore_ledger=False)
    learn = picture_learner(scn)
    learn.fit(2, 0.01)
    learn.save("two")
    then = weights(learn)
    learn.fit(3, 0.01)
    labels = scn.ledger.current.clone()
    learn.load("two")
    assert torch.equal(scn.ledger.current, labels) and equal(weights(learn), then)


def test_an_ordinary_checkpoint_loads_into_scn(picture_learner):
    plain = picture_learner()
    plain.fit(1)
    plain.save("plain")
    learn = picture_learner(SCNCallback())
    attention = find_head(learn.model).attention_weight.clone()
    learn.load("plain", with_opt=False)
    assert torch.equal(learn.get_preds()[0], plain.get_preds()[0])
    assert torch.equal(find_head(learn.model).attention_weight, attention)
    learn.fit(1)


def test_a_checkpoint_that_does_not_fit_is_still_refused(picture_learner):
    learn = picture_learner(SCNCallback())
    state = learn.model.state_dict()
    del state["6.weight"]
    with pytest.raises(RuntimeError, match="Missing key.*6.weight"):
        learn.model.load_state_dict(state)


def test_our_checkpoint_loads_into_an_ordinary_learner(picture_learner):
    learn = picture_learner(SCNCallback())
    learn.fit(1)
    learn.save("ours")
    plain = picture_learner()
    plain.load("ours", with_opt=False, strict=False)
    assert torch.equal(learn.get_preds()[0], plain.get_preds()[0])


def test_a_checkpoint_of_other_data_is_refused(blobs, blob_learner, tools):
    learn = blob_learner(blobs, SCNCallback())
    learn.fit(1)
    learn.save("other")
    here = blob_learner(tools.make_blobs(seed=4), SCNCallback())
    with pytest.raises(DataError, match="^This label ledger was made for another training set.*restore_ledger=False"):
        here.load("other")
    here = blob_learner(tools.make_blobs(seed=4), SCNCallback(restore_ledger=False))
    here.load("other")


def test_a_checkpoint_needs_no_pickle_of_code(picture_learner):
    learn = picture_learner(SCNCallback(relabel_from=1))
    learn.fit(2)
    buffer = io.BytesIO()
    torch.save(learn.model.state_dict(), buffer)
    buffer.seek(0)
    state = torch.load(buffer, weights_only=True)
    assert torch.equal(state["6._extra_state"]["given"], learn.scn.ledger.given)


# ---- the rest -----------------------------------------------------------------------------------------------------


def test_augmentation_and_normalising_are_no_matter(pictures, tools, tiny):
    tfms = aug_transforms(size=24)
    dls = ImageDataLoaders.from_folder(
        pictures.path, train="train", valid="valid", bs=8, num_workers=0, device="cpu", batch_tfms=tfms
    )
    learn = tools.quiet(Learner(dls, tools.small_cnn(), CrossEntropyLossFlat(), cbs=SCNCallback(relabel_from=1)))
    learn.fit(3)
    assert learn.scn.history.epoch == 3


def test_importing_fastai_through_the_package_says_nothing():
    code = "import scn_fastai; scn_fastai.SCNCallback; import fastai.vision.all"
    out = subprocess.run([sys.executable, "-W", "default", "-c", code], capture_output=True, text=True)
    assert out.returncode == 0 and "torch.jit" not in out.stderr and "FutureWarning" not in out.stderr, out.stderr
