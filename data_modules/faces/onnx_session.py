"""Opens ONNX files: checks the file, chooses the device and the number of threads."""

import logging
from collections.abc import Iterator, Sequence
from importlib import import_module
from multiprocessing import parent_process
from pathlib import Path
from typing import Any

from data_modules.faces.errors import DetectorNotFoundError, WeightsError
from data_modules.utils.checksum import cached_sha256
from data_modules.video.source import describe

log = logging.getLogger(__name__)

MAX_BYTES = 2 * 1024**3  # of a model with its external data; insightface's largest model has 0.25 GB
INSTALL_GPU = "For a GPU: pip uninstall onnxruntime, then pip install 'onnxruntime-gpu[cuda,cudnn]'"
CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"


def onnx_session(path: Path, device: str | None = None, threads: int | None = None) -> Any:
    """Creates a session of onnxruntime; logs its device and the file's SHA-256.

    Args:
        path: an ONNX file, which is not trusted: it contains no code, but may be huge or refer to other files.
        device: `cuda`, `cuda:N`, `cpu`, or by default a GPU if onnxruntime supports one.
        threads: number of threads on a CPU; by default 1 in worker processes, otherwise the number of cores.

    Returns:
        An `onnxruntime.InferenceSession`.

    Raises:
        WeightsError: the file is too large, is not an ONNX model, or refers to data outside its folder.
        DetectorNotFoundError: onnxruntime is not installed.
        ValueError: the device is unknown.
    """
    onnxruntime = package("onnxruntime")
    check_onnx_file(path)
    providers = onnx_providers(device, onnxruntime.get_available_providers())
    if CUDA in providers and hasattr(onnxruntime, "preload_dlls"):
        onnxruntime.preload_dlls()  # CUDA's libraries are in separate wheels
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    uses_all_cores = parent_process() is None or CUDA in providers
    options.intra_op_num_threads = (
        threads if threads is not None else 0 if uses_all_cores else 1
    )  # 0: onnxruntime decides
    number = (device or "").partition(":")[2] or "0"
    settings = [{"device_id": number} if provider == CUDA else {} for provider in providers]
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=providers, provider_options=settings)
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise WeightsError(f"{path}: onnxruntime cannot load this file: {reason}; download it again") from error
    provider = session.get_providers()[0]
    if provider != providers[0]:
        log.warning("%s: the GPU did not start; onnxruntime runs on %s instead. %s", path.name, provider, INSTALL_GPU)
    log.info("%s runs on onnxruntime's %s; sha256 %s", path, provider, cached_sha256(path))
    return session


def onnx_providers(device: str | None, available: Sequence[str]) -> list[str]:
    """Returns the providers to try in order; warns if a GPU was requested that onnxruntime does not support.

    Raises:
        ValueError: the device is unknown.
    """
    kind, _, number = (device or "cuda").partition(":")
    if kind not in ("cpu", "cuda") or (number and not (kind == "cuda" and number.isdecimal())):
        raise ValueError(f"unknown device {device!r} for onnxruntime; expected cpu, cuda or cuda:N")
    if device and kind == "cuda" and CUDA not in available:
        log.warning(
            "insightface: a GPU was requested, but this onnxruntime supports only %s; the CPU is used. %s",
            ", ".join(available),
            INSTALL_GPU,
        )
    return [provider for provider in ([CPU] if kind == "cpu" else [CUDA, CPU]) if provider in available]


def check_onnx_file(path: Path) -> None:
    """Checks that a file is an ONNX model of acceptable size with all its data in its own folder.

    Raises:
        WeightsError: the file is too large or not an ONNX model, or its external data is missing or outside its folder.
    """
    total, folder = path.stat().st_size, path.parent.resolve()
    if total > MAX_BYTES:
        raise WeightsError(f"{path}: {total} bytes; expected weights of at most {MAX_BYTES}")
    try:
        model = package("onnx").load_model(str(path), load_external_data=False)
    except Exception as error:
        raise WeightsError(
            f"{path}: found {describe(path)}, expected an ONNX model; download the file again"
        ) from error
    for location in set(_external_locations(model)):
        target = (folder / location).resolve()
        if not target.is_relative_to(folder):
            raise WeightsError(f"{path}: its data is in {target}, outside of the file's folder; do not use this file")
        if not target.is_file():
            raise WeightsError(f"{path}: its data is expected in {target}, which does not exist; put it there")
        total += target.stat().st_size
    if total > MAX_BYTES:
        raise WeightsError(f"{path}: {total} bytes with its data; expected at most {MAX_BYTES}")


def package(name: str) -> Any:
    """Imports a module of insightface, onnx or onnxruntime when it is needed.

    Raises:
        DetectorNotFoundError: the package is not installed; the message has the command that installs it.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise DetectorNotFoundError(
            "insightface's networks need the packages insightface and onnxruntime: "
            f"pip install insightface onnxruntime ({error})"
        ) from error


def _external_locations(message: Any) -> Iterator[str]:
    """Yields the names of the files that the tensors of a model refer to, also in functions and subgraphs."""
    for field, value in message.ListFields():
        if field.name == "external_data":
            yield from (entry.value for entry in value if entry.key == "location")
        elif field.message_type is not None:
            for part in [value] if hasattr(value, "ListFields") else value:
                yield from _external_locations(part)
