"""The face as a mesh of quadrilaterals that follows the 68 points, and its shading."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from data_modules.synthetic.face_model import MEAN, Array, Pose, half_width, project, surface

ROWS = (
    -100, -88, -75, -63, -52, -42, -34, -27, -20, -13, -6, 2, 10, 18, 25, 32, 38, 43, 49, 56, 64, 72, 80, 88, 95, 101,
    107, 111.5, 113,
)  # fmt: skip
_HALF = (0.08, 0.16, 0.24, 0.34, 0.46, 0.59, 0.73, 0.87, 1.0)
COLUMNS = (*(-u for u in reversed(_HALF)), 0.0, *_HALF)


@dataclass(frozen=True)
class HeadMesh:
    """The mesh of the mean face."""

    vertices: Array  # (V, 3)
    quads: NDArray[np.int64]  # (Q, 4)
    follow: Array  # (V, 68) share of the motion of each point that a vertex follows


@lru_cache(maxsize=1)
def head_mesh() -> HeadMesh:
    """Return the mesh of the mean face, which `move_mesh` fits to a head."""
    y = np.repeat(np.asarray(ROWS, np.float64), len(COLUMNS))
    x = np.tile(np.asarray(COLUMNS), len(ROWS)) * half_width(y)
    vertices = np.stack((x, y, surface(x, y)), -1).astype(np.float32)
    grid = np.arange(len(vertices)).reshape(len(ROWS), len(COLUMNS))
    quads = np.stack((grid[:-1, :-1], grid[:-1, 1:], grid[1:, 1:], grid[1:, :-1]), -1).reshape(-1, 4)
    distance = ((vertices[:, None, :2] - MEAN[None, :, :2]) ** 2).sum(-1)
    near = np.exp(-distance / (2 * 9.0**2))
    follow = near / (near.sum(1, keepdims=True) + 0.05)
    return HeadMesh(vertices, quads, follow.astype(np.float32))


def move_mesh(points: Array) -> Array:
    """Return the (T, V, 3) vertices that follow (T, 68, 3) points, both in head space."""
    mesh = head_mesh()
    return np.asarray(mesh.vertices + mesh.follow @ (points - MEAN), np.float32)


@dataclass(frozen=True)
class Light:
    """One directional light, and ambient light."""

    direction: Array  # (3,) unit vector towards the light, in camera space
    colour: Array  # (3,) RGB, all 1 for white
    ambient: float  # fraction of the light that has no direction


@dataclass(frozen=True)
class ShadedMesh:
    """The projected and lit mesh in T frames, to be painted from back to front."""

    vertices: Array  # (T, V, 2) pixels
    order: NDArray[np.int64]  # (T, Q) quads, the farthest first
    facing: NDArray[np.bool_]  # (T, Q)
    shade: Array  # (T, Q) diffuse light, about 0 to 1
    gloss: Array  # (T, Q) specular light


def shade_mesh(vertices: Array, pose: Pose, light: Light) -> ShadedMesh:
    """Project and light (T, V, 3) vertices."""
    quads = head_mesh().quads
    flat = project(vertices, pose)
    corners = (vertices @ pose.rotation.transpose(0, 2, 1))[:, quads]  # (T, Q, 4, 3)
    normal = np.cross(corners[:, :, 2] - corners[:, :, 0], corners[:, :, 3] - corners[:, :, 1])
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True) + 1e-6
    normal *= -1  # outwards: a quad that faces the camera has a negative z
    wrapped = np.clip((normal @ light.direction + 0.35) / 1.35, 0, 1)
    # surfaces that face up receive light from above; those that face away from the camera receive less
    room = 0.8 - 0.25 * normal[..., 1] - 0.15 * (1 + normal[..., 2])
    half = light.direction + np.array((0, 0, -1), np.float32)
    gloss = np.clip(normal @ (half / np.linalg.norm(half)), 0, 1) ** 24
    return ShadedMesh(
        flat[..., :2],
        np.argsort(-corners[..., 2].mean(-1), axis=1),
        normal[..., 2] < 0.15,
        np.asarray(light.ambient * room + (1 - light.ambient) * wrapped, np.float32),
        np.asarray(gloss, np.float32),
    )
