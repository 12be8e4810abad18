"""Which errors a user can mend, and what is said of them; all others are faults of this suite."""

import errno
import re
import subprocess
import sys

from data_modules.utils.files import NotWritableError
from data_modules.utils.messages import first_line

REPORT = "This is a fault of fer_lightning: please report it to its maintainers, with the command and all of the above"
"""Follows the traceback of an error that nobody expected."""

ADVICE = {
    errno.ENOSPC: "make room there, or put results elsewhere (FER_RUNS for runs, FER_STORE for faces)",
    errno.EDQUOT: "make room there, or put results elsewhere (FER_RUNS for runs, FER_STORE for faces)",
    errno.EROFS: "put results where they can be written (FER_RUNS for runs, FER_STORE for faces)",
    errno.EACCES: "ask for the permission, or put results where you have it (FER_RUNS for runs, FER_STORE for faces)",
    errno.EPERM: "ask for the permission, or put results where you have it (FER_RUNS for runs, FER_STORE for faces)",
    errno.EMFILE: "allow more open files (`ulimit -n 4096`), or load with fewer processes (--data.num_workers)",
    errno.ENFILE: "end other programs: the machine's limit of open files is reached",
    errno.EIO: "the disk or the connection to it fails: check it before you go on",
    errno.ESTALE: "the connection to the network disk was lost: mount it again",
    errno.EEXIST: "expected a folder or a free name: move what is there, or choose another name",
    errno.ENOTDIR: "expected a folder: a part of the path is a file",
    errno.EISDIR: "expected a file, found a folder",
    errno.ENAMETOOLONG: "shorten the name",
    errno.ELOOP: "links lead to each other in a circle: remove one",
}
"""What to do about errors of the system, wherever a file is read or written."""

OF_LIBRARIES = (
    (
        ("lightning_fabric.utilities.exceptions", "MisconfigurationException"),
        "the options of the trainer and this machine do not fit: see --trainer.accelerator, --trainer.devices and "
        "--trainer.strategy",
    ),
    (("torch", "OutOfMemoryError"), "let a batch hold less: --data.batch_size, --data.size, or fewer frames a clip"),
    (("safetensors", "SafetensorError"), "the file is damaged, or was not written to its end: make it again"),
    (("wandb.errors", "Error"), "set WANDB_MODE=offline (`wandb sync` sends it later), or WANDB_MODE=disabled"),
)
"""Errors of libraries that a user can mend: module, class, what to do."""

OWN = ("fer_lightning", "data_modules")  # a module of theirs that is missing is no package to install
NUMBERED = re.compile(r"\[Errno (\d+)\]|\(os error (\d+)\)")
HALF_WRITTEN = re.compile(r"PytorchStreamWriter failed|unexpected pos \d+ vs|iostream error")
"""What torch says where a file cannot be written; it does not say why."""


def remedy(error: Exception) -> str | None:
    """What was found and what to do about it, where a user can; None for an error that is the suite's fault."""
    if isinstance(error, (FileNotFoundError, ValueError)):  # raised where they arise, with all there is to say
        return str(error)
    if isinstance(error, NotWritableError):
        return f"{error} The variable FER_RUNS names the folder of runs, FER_STORE that of faces."
    if isinstance(error, subprocess.CalledProcessError):
        command = " ".join(map(str, error.cmd)) if isinstance(error.cmd, (list, tuple)) else str(error.cmd)
        return f"`{command}` did not finish (status {error.returncode}); its messages stand above"
    if isinstance(error, ModuleNotFoundError) and not (error.name or "").startswith(OWN):
        return f"{first_line(error)}; install it, or choose what does without"
    number = system_error(error)
    if number is not None and number in ADVICE:
        return f"{first_line(error)}; {ADVICE[number]}"
    if isinstance(error, RuntimeError) and HALF_WRITTEN.search(str(error)):
        return f"a file could not be written to its end ({first_line(error)}); is the disk full?"
    for (module, name), advice in OF_LIBRARIES:
        kind = getattr(sys.modules.get(module), name, None)  # what was not imported cannot have raised it
        if kind is not None and isinstance(error, kind):
            return f"{first_line(error)}; {advice}"
    return None


def system_error(error: Exception) -> int | None:
    """The system's number of an error, which libraries and the loader's processes pass on in words alone."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    found = NUMBERED.findall(str(error))
    return int(next(filter(None, found[-1]))) if found else None
