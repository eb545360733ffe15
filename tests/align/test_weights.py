import hashlib
import pickle
import zipfile

import pytest
import torch

from scn_fastai.align import weights as W
from scn_fastai.errors import DataError


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A wheel with weights of our own making, whose checksums are the expected ones; gives the wheel."""
    wheel, sums = tmp_path / "made.whl", {}
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("facenet_pytorch/__init__.py", "raise SystemExit('this code must not run')")
        for name, network in zip(W.SHA256, (W.PNet(), W.RNet(), W.ONet()), strict=True):
            torch.save(network.state_dict(), tmp_path / name)
            data = (tmp_path / name).read_bytes()
            sums[name] = hashlib.sha256(data).hexdigest()
            archive.writestr(f"facenet_pytorch/data/{name}", data)
    monkeypatch.setattr(W, "SHA256", sums)
    return wheel


def test_only_the_three_files_are_taken_out_and_read(made, tmp_path):
    folder = W.extract_weights(made, tmp_path / "weights")
    assert sorted(p.name for p in folder.iterdir()) == ["onet.pt", "pnet.pt", "rnet.pt"]
    pnet, rnet, onet = W.load_networks(folder)
    assert torch.equal(pnet.conv1.weight, torch.load(tmp_path / "pnet.pt", weights_only=True)["conv1.weight"])
    assert not onet.training and not any(p.requires_grad for p in rnet.parameters())


def test_they_are_looked_for_in_the_data_folder_then_in_the_cache(made, tmp_path, monkeypatch):
    monkeypatch.setenv("SCN_CACHE", str(tmp_path / "cache"))
    W.extract_weights(made, tmp_path / "cache" / "mtcnn")
    assert W.find_weights() == tmp_path / "cache" / "mtcnn"
    monkeypatch.setenv("SCN_DATA", str(tmp_path))
    assert W.find_weights() == tmp_path / "cache" / "mtcnn" and W.places()[0] == tmp_path / "mtcnn"
    W.extract_weights(made, tmp_path / "mtcnn")
    assert W.find_weights() == tmp_path / "mtcnn" == W.fetch_weights()


def test_missing_weights_name_the_step(tmp_path):
    with pytest.raises(DataError, match="are not in .*nowhere: `make mtcnn`"):
        W.load_networks(tmp_path / "nowhere")


def test_another_file_is_refused(made, tmp_path):
    folder = W.extract_weights(made, tmp_path / "weights")
    (folder / "rnet.pt").write_bytes(pickle.dumps({"conv1.weight": 1}))
    with pytest.raises(DataError, match="rnet.pt is damaged or another file, its checksum .* remove it"):
        W.load_networks(folder)


def test_a_wheel_that_is_none_or_another_is_refused(made, tmp_path):
    (tmp_path / "text.whl").write_text("no zip")
    with pytest.raises(DataError, match="text.whl is not the wheel"):
        W.extract_weights(tmp_path / "text.whl", tmp_path / "weights")
    with zipfile.ZipFile(tmp_path / "other.whl", "w") as archive:
        for name in W.SHA256:
            archive.writestr(f"facenet_pytorch/data/{name}", b"other")
    with pytest.raises(DataError, match="pnet.pt in .* has not the checksum"):
        W.extract_weights(tmp_path / "other.whl", tmp_path / "weights")
    assert not (tmp_path / "weights").exists()


def test_the_place_cannot_be_written(made, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="cannot be written to"):
        W.extract_weights(made, tmp_path / "file")
