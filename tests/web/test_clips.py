import numpy as np
import pytest

from scn_fastai.web.clips import clips, evenly

BOX, FAR = (0, 0, 10, 10), (50, 50, 60, 60)


def found(text):
    """'x' a face, '.' none, 'y' somebody else."""
    return [{"x": BOX, ".": None, "y": FAR}[letter] for letter in text]


def clip_texts(text, step=0.5, **how):
    times = np.arange(len(text)) * step
    return ["".join(text[i] for i in clip) for clip in clips(times, found(text), step, **how)]


def test_a_face_has_to_be_there_for_five_seconds():
    assert clip_texts("x" * 10) == ["x" * 10]  # ten samples of half a second
    assert clip_texts("x" * 9) == []


@pytest.mark.parametrize(("text", "count"), [("xxxxx.xxxxx", 1), ("xxxxx..xxxxx", 1), ("xxxxx...xxxxx", 0)])
def test_a_second_without_it_is_forgiven(text, count):
    assert len(clip_texts(text, gap=1.0)) == count


def test_somebody_else_begins_a_new_clip():
    assert clip_texts("xxxxyyyy", seconds=2) == ["xxxx", "yyyy"]
    assert clip_texts("xxxx.y.xxxx", seconds=2) == ["xxxx", "xxxx"]
    assert clip_texts("", seconds=1) == [] == clip_texts("....", seconds=0)


def test_no_frame_is_in_two_clips_and_all_have_a_face():
    rng = np.random.default_rng(0)
    text = "".join(rng.choice(list("xxxxx.y"), 400))
    times = np.arange(400) * 0.5
    taken = np.concatenate(clips(times, found(text), 0.5, seconds=2))
    assert len(taken) > 50 and len(set(taken)) == len(taken) and all(text[i] != "." for i in taken)


def test_evenly_keeps_order_and_ends_apart():
    frames = np.arange(7) * 3
    assert evenly(frames, 9).tolist() == frames.tolist()
    for most in range(1, 7):
        kept = evenly(frames, most)
        assert len(kept) == most and (np.diff(kept) > 0).all()
