"""The one place that opens an ONNX file: checked before, on a device that is told, with a thread count that suits."""

import hashlib
import logging
from collections.abc import Iterator, Sequence
from importlib import import_module
from multiprocessing import parent_process
from pathlib import Path
from typing import Any

from data_modules.faces.errors import DetectorNotFoundError, WeightsError
from data_modules.video.source import describe

log = logging.getLogger(__name__)

MAX_BYTES = 2 * 1024**3  # of a model with its external data; insightface's largest has 0.25 GB
INSTALL_GPU = "For a GPU: pip uninstall onnxruntime, then pip install 'onnxruntime-gpu[cuda,cudnn]'"
CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"


def onnx_session(path: Path, device: str | None = None, threads: int | None = None) -> Any:
    """A session of onnxruntime; where it runs and the file's SHA-256 are logged.

    Args:
        path: an ONNX file, perhaps from somebody hostile: no code is in it, but it may be huge, or name other files.
        device: `cuda`, `cuda:N`, `cpu`, or by default a GPU where onnxruntime has one.
        threads: of onnxruntime on a CPU; by default 1 in worker processes, otherwise as many as there are cores.

    Returns:
        An `onnxruntime.InferenceSession`.

    Raises:
        WeightsError: the file is too large, no ONNX model, or has data outside of its folder.
        DetectorNotFoundError: onnxruntime is not installed.
        ValueError: there is no such device.
    """
    onnxruntime = package("onnxruntime")
    check_onnx_file(path)
    providers = onnx_providers(device, onnxruntime.get_available_providers())
    if CUDA in providers and hasattr(onnxruntime, "preload_dlls"):
        onnxruntime.preload_dlls()  # CUDA's libraries lie in wheels of their own
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    alone = parent_process() is None or CUDA in providers
    options.intra_op_num_threads = threads if threads is not None else 0 if alone else 1  # 0: onnxruntime decides
    number = (device or "").partition(":")[2] or "0"
    settings = [{"device_id": number} if provider == CUDA else {} for provider in providers]
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=providers, provider_options=settings)
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise WeightsError(f"{path}: onnxruntime cannot load it: {reason}; fetch the file again") from error
    started = session.get_providers()[0]
    if started != providers[0]:
        log.warning("%s: the GPU did not start; onnxruntime runs on %s instead. %s", path.name, started, INSTALL_GPU)
    log.info("%s runs on onnxruntime's %s; sha256 %s", path, started, sha256(path))
    return session


def onnx_providers(device: str | None, available: Sequence[str]) -> list[str]:
    """The providers to try, in order; a warning where a GPU was asked for that onnxruntime does not offer.

    Raises:
        ValueError: there is no such device.
    """
    kind, _, number = (device or "cuda").partition(":")
    if kind not in ("cpu", "cuda") or (number and not (kind == "cuda" and number.isdecimal())):
        raise ValueError(f"no device {device!r} for onnxruntime; there are cpu, cuda and cuda:N")
    if device and kind == "cuda" and CUDA not in available:
        log.warning(
            "insightface: a GPU was asked for, but this onnxruntime offers %s only; the CPU is used. %s",
            ", ".join(available),
            INSTALL_GPU,
        )
    return [provider for provider in ([CPU] if kind == "cpu" else [CUDA, CPU]) if provider in available]


def check_onnx_file(path: Path) -> None:
    """Refuses what no honest file of weights is.

    Raises:
        WeightsError: too large, no ONNX model, or external data that is missing or outside of the folder.
    """
    total, folder = path.stat().st_size, path.parent.resolve()
    if total > MAX_BYTES:
        raise WeightsError(f"{path}: {total} bytes; expected weights of at most {MAX_BYTES}")
    try:
        model = package("onnx").load_model(str(path), load_external_data=False)
    except Exception as error:
        raise WeightsError(f"{path}: found {describe(path)}, expected an ONNX model; fetch the file again") from error
    for location in set(_external_locations(model)):
        target = (folder / location).resolve()
        if not target.is_relative_to(folder):
            raise WeightsError(
                f"{path}: its data would be read from {target}, outside of the file's folder; do not use this file"
            )
        if not target.is_file():
            raise WeightsError(f"{path}: its data lies in {target}, which is no file; put it there")
        total += target.stat().st_size
    if total > MAX_BYTES:
        raise WeightsError(f"{path}: {total} bytes with its data; expected at most {MAX_BYTES}")


def sha256(path: Path) -> str:
    """The checksum of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def package(name: str) -> Any:
    """A module of insightface, onnx or onnxruntime, imported when it is needed.

    Raises:
        DetectorNotFoundError: it is not installed; the message has the command.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise DetectorNotFoundError(
            "insightface's networks need the packages insightface and onnxruntime: "
            f"pip install insightface onnxruntime ({error})"
        ) from error


def _external_locations(message: Any) -> Iterator[str]:
    """Names of the files outside of a model that any tensor in it refers to, in functions and subgraphs too."""
    for field, value in message.ListFields():
        if field.name == "external_data":
            yield from (entry.value for entry in value if entry.key == "location")
        elif field.message_type is not None:
            for part in [value] if hasattr(value, "ListFields") else value:
                yield from _external_locations(part)
