"""Drawing on images: smooth curves, and OpenCV's polygons with coordinates of sixteenths of a pixel."""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from data_modules.synthetic.face_model import Array

Image = NDArray[np.uint8]
Points = NDArray[np.int32]
"""(N, 2) in sixteenths of a pixel."""

SHIFT = 4


def fixed(points: Array, scale: float = 1.0) -> Points:
    """(..., 2 or 3) pixels -> (..., 2) sixteenths of a pixel of an image that is `scale` times as large."""
    return np.ascontiguousarray(np.rint((points[..., :2] + 0.5) * (scale * (1 << SHIFT)) - (1 << SHIFT - 1)), np.int32)


@lru_cache(maxsize=64)
def _spline(count: int, closed: bool, steps: int) -> Array:
    """(N, count) Catmull-Rom weights: `steps` points from each control point to the next."""
    segments = count if closed else count - 1
    rows = np.zeros((segments * steps + (not closed), count))
    for row in range(len(rows)):
        segment, t = min(row // steps, segments - 1), row / steps
        t -= segment
        weights = (-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, -(t**2) + t**3)
        for offset, weight in zip((-1, 0, 1, 2), weights, strict=True):
            control = segment + offset
            control = control % count if closed else min(max(control, 0), count - 1)
            rows[row, control] += weight / 2
    return rows.astype(np.float32)


def curve(points: Array, steps: int = 4, closed: bool = False) -> Array:
    """(..., K, C) control points -> (..., N, C) points of a smooth curve through them."""
    return np.asarray(_spline(points.shape[-2], closed, steps) @ points, np.float32)


def fill(image: Image, points: Points, colour: tuple[float, ...]) -> None:
    """Fills a polygon with smooth edges."""
    cv2.fillPoly(image, (points,), colour, cv2.LINE_AA, SHIFT)


def fill_hull(image: Image, points: Points, colour: tuple[float, ...]) -> None:
    """Fills the convex hull of points."""
    cv2.fillConvexPoly(image, cv2.convexHull(points), colour, cv2.LINE_AA, SHIFT)


def stroke(image: Image, points: Points, colour: tuple[float, ...], width: float, closed: bool = False) -> None:
    """Draws a line along points; widths below one pixel become one."""
    cv2.polylines(image, (points,), closed, colour, max(1, round(width)), cv2.LINE_AA, SHIFT)


def disc(image: Image, centre: Points, radius: float, colour: tuple[float, ...]) -> None:
    """Fills a circle; `radius` in pixels."""
    cv2.circle(
        image, (int(centre[0]), int(centre[1])), max(1, round(radius * (1 << SHIFT))), colour, -1, cv2.LINE_AA, SHIFT
    )


@dataclass(frozen=True)
class Layer:
    """A picture with weights, to be laid over others."""

    image: Image  # (H, W, 3)
    weight: Array  # (H, W), 0 to 1

    def over(self, under: Image) -> Image:
        """This layer over `under`."""
        return np.asarray(cv2.blendLinear(self.image, under, self.weight, 1 - self.weight), np.uint8)


def blend(under: Image, over: Image, mask: Image) -> Image:
    """`over` where the mask (H, W) is 255, `under` where it is 0, a mixture between."""
    return Layer(over, mask.astype(np.float32) * np.float32(1 / 255)).over(under)
