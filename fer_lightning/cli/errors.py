"""Advice for errors that a user can fix. All other errors are bugs of this suite."""

import errno
import linecache
import re
import subprocess
import sys
import traceback

from data_modules.utils.files import NotWritableError
from data_modules.utils.messages import first_line
from fer_lightning.runs.own_classes import OWN

REPORT = (
    "This looks like a bug in fer_lightning: if none of your settings explains it, please report it to its "
    "maintainers, with the command and all of the above"
)
"""The note below the traceback of an unexpected error."""

ADVICE = {
    errno.ENOSPC: "free some space there, or put results elsewhere (FER_RUNS for runs, FER_STORE for faces)",
    errno.EDQUOT: "free some space there, or put results elsewhere (FER_RUNS for runs, FER_STORE for faces)",
    errno.EROFS: "put results in a writable folder (FER_RUNS for runs, FER_STORE for faces)",
    errno.EACCES: "ask for permission, or put results in a writable folder (FER_RUNS for runs, FER_STORE for faces)",
    errno.EPERM: "ask for permission, or put results in a writable folder (FER_RUNS for runs, FER_STORE for faces)",
    errno.EMFILE: "allow more open files (`ulimit -n 4096`), or load with fewer processes (--data.num_workers)",
    errno.ENFILE: "close other programs: the machine's limit of open files is reached",
    errno.EFBIG: "files of this size are not allowed there: raise the limit (`ulimit -f`), or put results elsewhere "
    "(FER_RUNS for runs, FER_STORE for faces)",
    errno.EIO: "the disk or the connection to it fails: check it before you continue",
    errno.ESTALE: "the connection to the network disk was lost: mount it again",
    errno.EEXIST: "expected a folder or an unused name: move the file, or choose another name",
    errno.ENOTDIR: "expected a folder: a part of the path is a file",
    errno.EISDIR: "expected a file, found a folder",
    errno.ENAMETOOLONG: "shorten the name",
    errno.ELOOP: "links point to each other in a circle: remove one",
}
"""Error number of the system -> what to do about it."""

OF_LIBRARIES = (
    (
        ("lightning_fabric.utilities.exceptions", "MisconfigurationException"),
        "the options of the trainer do not fit this machine: see --trainer.accelerator, --trainer.devices and "
        "--trainer.strategy",
    ),
    (
        ("torch", "OutOfMemoryError"),
        "load a batch in parts (--trainer.accumulate_grad_batches 2), smaller crops (--data.size), or fewer frames",
    ),
    (("safetensors", "SafetensorError"), "the file is damaged or incomplete: create it again"),
    (("wandb.errors", "Error"), "set WANDB_MODE=offline (`wandb sync` sends it later), or WANDB_MODE=disabled"),
)
"""Errors of libraries that a user can fix: (module, class), what to do."""

SETTINGS = ("jsonargparse", "pytorch_lightning", "lightning_fabric")
"""Packages that check what a user has set, whose messages name the setting."""
OF_WORKER = "Original Traceback"  # in torch's message about an error in a worker process
NUMBERED = re.compile(r"\[Errno (\d+)\]|\(os error (\d+)\)")
OF_TORCH = (
    (
        re.compile(r"PytorchStreamWriter failed|unexpected pos \d+ vs|iostream error"),
        "a file could not be written completely; is the disk full?",
    ),
    (
        re.compile(r"DataLoader worker \(pid"),
        "a process that loads data ended, such as for lack of memory: run the same command again, and if it fails "
        "again, with --data.num_workers 0",
    ),
    (
        re.compile(r"cannot be converted to type .* without overflow"),
        "a setting is too large for the numbers of the model, such as its learning rate "
        "(--model.init_args.optimizer.init_args.lr), which is below 1 as a rule",
    ),
    (
        re.compile(r"gloo|NCCL|Connection (closed|reset) by peer"),
        "another process of this training ended or does not answer; its messages, if any, say why. The same command "
        "resumes after the latest checkpoint",
    ),
)
"""Torch's messages about what is no fault of the program: what they contain, what to say and do."""


def remedy(error: Exception) -> str | None:
    """Returns what was found and what to do about it, or None if the error is a bug of this suite."""
    if isinstance(error, FileNotFoundError) or (isinstance(error, ValueError) and is_meant_for_users(error)):
        return str(error)  # their messages are complete
    if isinstance(error, NotWritableError):
        return f"{error} The variable FER_RUNS names the folder of runs, FER_STORE that of faces."
    if isinstance(error, subprocess.CalledProcessError):
        command = " ".join(map(str, error.cmd)) if isinstance(error.cmd, (list, tuple)) else str(error.cmd)
        return f"`{command}` did not finish (status {error.returncode}); see its messages above"
    # a missing module of this suite cannot be installed
    if isinstance(error, ModuleNotFoundError) and not (error.name or "").startswith(OWN):
        return f"{first_line(error)}; install it, or choose an option that does not need it"
    number = system_error(error)
    if number is not None and number in ADVICE:
        return f"{first_line(error)}; {ADVICE[number]}"
    for message, advice in OF_TORCH if isinstance(error, RuntimeError) else ():
        if message.search(str(error)):
            return f"{advice} ({first_line(error)})"
    for (module, name), advice in OF_LIBRARIES:
        kind = getattr(sys.modules.get(module), name, None)  # a module that was not imported cannot have raised it
        if kind is not None and isinstance(error, kind):
            return f"{first_line(error)}; {advice}"
    return None


def is_meant_for_users(error: ValueError) -> bool:
    """Whether a `raise` of this suite made the error, or a package that checks settings.

    Other packages and the interpreter raise `ValueError` too, such as for arrays whose shapes do not fit. That is a bug
    of this suite, which cannot be found without the traceback. An error in a worker process holds its own.
    """
    frames = list(traceback.walk_tb(error.__traceback__))
    if not frames or OF_WORKER in str(error):
        return True
    frame, line = frames[-1]
    package = str(frame.f_globals.get("__name__")).partition(".")[0]
    statement = linecache.getline(frame.f_code.co_filename, line).strip()
    return package in SETTINGS or (package in OWN and statement.startswith("raise "))


def system_error(error: Exception) -> int | None:
    """Returns the system's error number; libraries and the loader's processes only pass it on in the message."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    matches = NUMBERED.findall(str(error))
    return int(next(filter(None, matches[-1]))) if matches else None
