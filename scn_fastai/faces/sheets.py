"""Contact sheets: what the faces look like, side by side."""

from __future__ import annotations

import numpy as np

from scn_fastai.faces.degrade import IMAGE_KINDS, degrade
from scn_fastai.faces.expressions import CLASSES, blend, expression_units, random_expression
from scn_fastai.faces.plan import RENDER_KINDS, person, strength
from scn_fastai.faces.render import Pose, random_background, random_light, random_pose, render_face
from scn_fastai.faces.soft import mix_of_share

LEVELS = (0.0, 0.33, 0.66, 1.0)
BLENDS = (("fear", "surprise"), ("anger", "disgust"), ("sadness", "neutral"), ("contempt", "happiness"))
SHORT = {"low_resolution": "low res.", "low_light": "dark", "over_exposed": "over-exp."}  # fits below a small face
SHARES = (0.05, 0.25, 0.5, 0.75, 0.95)


def expression_sheet(size: int = 64, seed: int = 0, people: int = 8) -> tuple[list[np.ndarray], list[str], int]:
    """People in rows, expressions in columns, as the data set shows them: images, captions, number of columns."""
    images, captions = [], []
    for identity in range(people):
        rng = np.random.default_rng([seed, identity])
        for name in CLASSES:
            units = random_expression(name, rng, rng.uniform(0.65, 1))
            scene = random_pose(rng), random_light(rng), size, random_background(rng)
            images.append(render_face(person(identity, seed), units, *scene))
            captions.append(name if identity == 0 else "")
    return images, captions, len(CLASSES)


def uncertainty_sheet(size: int = 64, seed: int = 0) -> tuple[list[np.ndarray], list[str], int]:
    """Two kinds of uncertainty a row, each from a clean face over level 0 to 1; then blends by soft share."""
    images, captions = [], []
    for row, kind in enumerate((*IMAGE_KINDS, *RENDER_KINDS)):
        images.append(_face(row, None, 0.0, size, seed))
        captions.append(CLASSES[1 + row % 7])
        for level in LEVELS:
            images.append(_face(row, kind, level, size, seed))
            captions.append(f"{SHORT.get(kind, kind)} {level:g}")
    for row, (first, second) in enumerate(BLENDS):
        for share in SHARES:
            mix = mix_of_share(first, second, share)
            units = blend(expression_units(first), expression_units(second), mix)
            images.append(render_face(person(20 + row, seed), units, size=size))
            captions.append(f"{second} {share:.0%}" if share >= 0.5 else f"{first} {1 - share:.0%}")
    return images, captions, 2 * (1 + len(LEVELS))


def _face(row: int, kind: str | None, level: float, size: int, seed: int) -> np.ndarray:
    """The same person, expression and light in every picture of a row."""
    rng = np.random.default_rng([seed, row])
    units = random_expression(CLASSES[1 + row % 7], rng, 0.9)
    pose, light, background = random_pose(rng), random_light(rng), random_background(rng)
    if kind == "profile":
        pose = Pose(strength(kind, level), pose.pitch, pose.roll)
    wear = (kind, strength(kind, level)) if kind in ("mask", "glasses") else None
    image = render_face(person(8 + row, seed), units, pose, light, size, background, wear)
    return degrade(image, kind, level, rng) if kind in IMAGE_KINDS else image
