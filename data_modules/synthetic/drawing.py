"""Draw on images: smooth curves and polygons, with a precision of a sixteenth of a pixel."""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from data_modules.synthetic.face_model import Array

Image = NDArray[np.uint8]
Points = NDArray[np.int32]
"""(N, 2) in sixteenths of a pixel."""

SHIFT = 4  # fractional bits of fixed-point coordinates, for OpenCV


def to_fixed_point(points: Array, scale: float = 1.0) -> Points:
    """Convert (..., 2 or 3) pixels to (..., 2) sixteenths of a pixel of an image that is `scale` times as large."""
    return np.ascontiguousarray(np.rint((points[..., :2] + 0.5) * (scale * (1 << SHIFT)) - (1 << SHIFT - 1)), np.int32)


@lru_cache(maxsize=64)
def _spline(count: int, closed: bool, steps: int) -> Array:
    """Return (N, count) Catmull-Rom weights for `steps` points from each control point to the next."""
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
    """Return (..., N, C) points of a smooth curve through (..., K, C) control points."""
    return np.asarray(_spline(points.shape[-2], closed, steps) @ points, np.float32)


def fill(image: Image, points: Points, colour: tuple[float, ...]) -> None:
    """Fill a polygon with antialiased edges."""
    cv2.fillPoly(image, (points,), colour, cv2.LINE_AA, SHIFT)


def fill_hull(image: Image, points: Points, colour: tuple[float, ...]) -> None:
    """Fill the convex hull of points."""
    cv2.fillConvexPoly(image, cv2.convexHull(points), colour, cv2.LINE_AA, SHIFT)


def stroke(image: Image, points: Points, colour: tuple[float, ...], width: float, closed: bool = False) -> None:
    """Draw a line along points, at least one pixel wide."""
    cv2.polylines(image, (points,), closed, colour, max(1, round(width)), cv2.LINE_AA, SHIFT)


def disc(image: Image, centre: Points, radius: float, colour: tuple[float, ...]) -> None:
    """Fill a circle; `radius` is in pixels."""
    cv2.circle(
        image, (int(centre[0]), int(centre[1])), max(1, round(radius * (1 << SHIFT))), colour, -1, cv2.LINE_AA, SHIFT
    )


def uniform_image(height: int, width: int, colour: tuple[float, ...]) -> Image:
    """Return an image of one colour, (height, width, channels), or (height, width) for one channel."""
    image = np.empty((height, width, len(colour)) if len(colour) > 1 else (height, width), np.uint8)
    cv2.rectangle(image, (0, 0), (width, height), colour, -1)  # much faster than an assignment
    return image


def extent(image: Image, points: Points) -> tuple[slice, slice]:
    """Return the rows and columns of an image that contain points, with a small margin; they may be empty."""
    left, top = np.maximum((points.min(0) >> SHIFT) - 3, 0).tolist()
    right, bottom = np.maximum((points.max(0) >> SHIFT) + 4, 0).tolist()
    return slice(min(top, image.shape[0]), bottom), slice(min(left, image.shape[1]), right)


@dataclass(frozen=True)
class Layer:
    """An image with an opacity for each pixel, which is transparent above the row `top`."""

    image: Image  # (H, W, 3)
    weight: Array  # (H, W), 0 to 1
    top: int

    @classmethod
    def from_mask(cls, image: Image, mask: Image) -> "Layer":
        """Return a layer that shows `image` where the (H, W) mask is 255."""
        rows = np.flatnonzero(mask.any(1))
        return cls(image, mask.astype(np.float32) / np.float32(255), int(rows[0]) if len(rows) else len(mask))

    def paint_over(self, under: Image) -> None:
        """Blend the layer over `under`, in place."""
        if self.top < len(under):
            part = slice(self.top, None)
            weight = self.weight[part]
            under[part] = cv2.blendLinear(self.image[part], under[part], weight, 1 - weight)


def blend(under: Image, over: Image, mask: Image, part: tuple[slice, slice]) -> None:
    """Blend `over` on `under`, in place, where the (H, W) mask is 255; only within `part` of the image."""
    weight = mask[part].astype(np.float32) * np.float32(1 / 255)
    if weight.size:
        under[part] = cv2.blendLinear(over[part], under[part], weight, 1 - weight)
