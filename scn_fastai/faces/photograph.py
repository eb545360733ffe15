"""Photographs that were never taken: rendered people somewhere in a picture, with the places of eyes and mouth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from scn_fastai.errors import DataError
from scn_fastai.faces.expressions import CLASSES, random_expression
from scn_fastai.faces.identity import random_identity
from scn_fastai.faces.render import Light, Pose, five_points, random_light, render_face

# Shoulders and what is below them, around the middle of the face, in sides of its square.
BODY = ((-0.16, 0.42), (-0.45, 0.48), (-0.66, 0.58), (-0.75, 0.8), (-0.85, 4), (0.85, 4), (0.75, 0.8), (0.66, 0.58),
        (0.45, 0.48), (0.16, 0.42))  # fmt: skip
FINER = 4  # times as fine is a body drawn, for smooth edges


@dataclass(frozen=True)
class Place:
    """Where a person is in a photograph, in pixels, and how.

    x, y: the middle of the face. side: of the square in which `render_face` frames a head. turn: how far the head
    leans, in degrees against the clock. yaw: how far it looks to the picture's right.
    """

    x: float
    y: float
    side: int
    turn: float = 0.0
    yaw: float = 0.0
    expression: str = "neutral"


class Photograph(NamedTuple):
    """A picture, uint8 [H, W, 3], and for each of K people the true five points, [K, 5, 2] as x and y."""

    image: np.ndarray
    points: np.ndarray


def photograph(places: Sequence[Place], height: int = 300, width: int = 400, seed: int = 0) -> Photograph:
    """People in a room, the first ones behind the others; `seed` says who they are and what the room is like.

    >>> photograph([Place(200, 150, 96)]).points.shape
    (1, 5, 2)
    """
    rng = np.random.default_rng(seed)
    edge = 2 * max((place.side for place in places), default=0)  # so that a person may be cut by the edge
    picture = np.pad(_room(height, width, rng), ((edge, edge), (edge, edge), (0, 0)), mode="edge")
    light = random_light(rng)
    points = np.zeros((len(places), 5, 2))
    for number, place in enumerate(places):
        if not (0 <= place.x < width and 0 <= place.y < height):
            raise DataError(f"A face at {place.x:g}, {place.y:g} lies outside of a photograph of {width} x {height}.")
        who = random_identity(rng)
        units = random_expression(place.expression, rng)
        pose = Pose(place.yaw, rng.uniform(-6, 6), place.turn, zoom=0.5)
        size = 2 * place.side
        left, top = round(place.x) + edge - place.side, round(place.y) + edge - place.side
        colour = _in_light(who.clothes, light)
        picture = _with_body(picture, colour, left + place.side, top + place.side, place)
        patch = picture[top : top + size, left : left + size]
        picture[top : top + size, left : left + size] = render_face(who, units, pose, light, size, patch)
        points[number] = five_points(who, units, pose, size) + [left - edge, top - edge]
    return Photograph(picture[edge : edge + height, edge : edge + width].copy(), points)


def random_place(
    expression: str, rng: np.random.Generator, height: int = 300, width: int = 400, turn: float = 30, yaw: float = 25
) -> Place:
    """Somewhere in a photograph, near or far, leaning by up to `turn` and looking aside by up to `yaw` degrees.

    >>> random_place("anger", np.random.default_rng(0)).expression
    'anger'
    """
    side = int(rng.integers(width // 5, width * 2 // 5))
    x, y = rng.uniform(0.25, 0.75) * width, rng.uniform(0.35, 0.6) * height
    return Place(x, y, side, rng.uniform(-turn, turn), rng.uniform(-yaw, yaw), expression)


def write_photographs(folder: str | Path, each: int = 4, seed: int = 0) -> dict[str, Photograph]:
    """Photographs of one person each, as PNG files in a folder for each expression; gives them by their paths in it.

    each: of an expression.

    Raises:
        DataError: the folder holds something already.
    """
    folder = Path(folder)
    if folder.exists() and any(folder.iterdir()):
        raise DataError(f"{folder} holds something already: choose another folder.")
    rng = np.random.default_rng(seed)
    made = {}
    for expression in CLASSES:
        (folder / expression).mkdir(parents=True)
        for number in range(each):
            name = f"{expression}/{number:03d}.png"
            made[name] = photograph([random_place(expression, rng)], seed=int(rng.integers(2**31)))
            Image.fromarray(made[name].image).save(folder / name)
    return made


def _room(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """A wall with things on it, out of focus."""
    top, bottom = rng.uniform(90, 190, 3), rng.uniform(60, 150, 3)
    share = np.linspace(0, 1, height)[:, None, None]
    wall = Image.fromarray(np.broadcast_to(top * (1 - share) + bottom * share, (height, width, 3)).astype(np.uint8))
    pen = ImageDraw.Draw(wall)
    for _ in range(6):
        x, y = rng.uniform(-0.1, 0.9) * width, rng.uniform(-0.1, 0.8) * height
        box = (x, y, x + rng.uniform(0.1, 0.35) * width, y + rng.uniform(0.1, 0.5) * height)
        colour = tuple(int(value) for value in rng.uniform(40, 210) + rng.uniform(-30, 30, 3))
        (pen.rectangle if rng.random() < 0.7 else pen.ellipse)(box, fill=colour)
    return np.asarray(wall.filter(ImageFilter.GaussianBlur(width / 80)))


def _in_light(colour: Sequence[float], light: Light) -> tuple[int, ...]:
    """An sRGB colour as cloth that hangs down shows it in this light."""
    ahead = math.cos(math.radians(light.azimuth)) * math.cos(math.radians(light.elevation))
    shine = 0.9 * light.key * (ahead + 0.25) / 1.25 + 0.8 * (light.fill + light.ambient)
    return tuple(round(255 * min(1.0, value * shine ** (1 / 2.2))) for value in colour)


def _with_body(picture: np.ndarray, colour: tuple, x: float, y: float, place: Place) -> np.ndarray:
    """The picture with the shoulders of somebody in it."""
    turn = math.radians(place.turn)
    cos, sin = math.cos(turn), math.sin(turn)
    outline = [
        (FINER * (x + place.side * (cos * across + sin * down)), FINER * (y + place.side * (cos * down - sin * across)))
        for across, down in BODY
    ]
    height, width = picture.shape[:2]
    mask = Image.new("L", (FINER * width, FINER * height))
    ImageDraw.Draw(mask).polygon(outline, fill=255)
    mask = mask.resize((width, height), Image.Resampling.BOX)
    cloth = Image.new("RGB", (width, height), colour)
    cloth.paste(Image.fromarray(picture), mask=Image.eval(mask, lambda value: 255 - value))
    return np.array(cloth)
