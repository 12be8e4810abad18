"""Fetches models from the Hugging Face Hub and sends them, and turns its client's errors into messages."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fer_lightning.zoo.hub import CARD, MODEL, HubModel
from fer_lightning.zoo.model_file import is_own_file, refuse_other_content, stated_in

AS_SENT = f"expected {MODEL}, a file of `fer export`, and {CARD}, as `fer push` sends them"


@dataclass(frozen=True)
class PulledModel:
    """A model in the cache of the Hub on this machine."""

    path: Path
    card: Path
    checked: bool  # whether its checksum was known


def pull(model: HubModel, sha256: str = "") -> PulledModel:
    """Fetches a model and its card into the cache of the Hub.

    A file that is not as expected is deleted, so that it cannot be used from the cache.

    Args:
        model: its repository.
        sha256: of the model's file, in hexadecimal; by default what the card states.

    Raises:
        FileNotFoundError: there is no such repository, it holds no model of this suite, or there is no connection.
        ValueError: the file has another checksum, or is none of this suite, or the Hub refuses access.
    """
    from huggingface_hub import hf_hub_download

    with hub_errors(model):
        card = Path(hf_hub_download(model.repository, CARD, revision=model.revision))
        path = Path(hf_hub_download(model.repository, MODEL, revision=model.revision))
    expected = sha256 or stated_in(card.read_text(encoding="utf-8", errors="replace"))
    try:
        if expected:
            refuse_other_content(path, expected, "It was deleted; ask its owner, or fetch it again")
        if not is_own_file(path):
            raise ValueError(f"{MODEL} of {model.repository} is no model of this suite; {AS_SENT}")
    except ValueError:
        _delete(path)
        raise
    return PulledModel(path, card, bool(expected))


def push(model: HubModel, folder: Path, public: bool) -> str:
    """Sends a model's file and its card to the Hub in one commit, and returns the address of that commit.

    Args:
        model: its repository, which is made if it does not exist.
        folder: holds the two files; nothing else in it is sent.
        public: whether everybody sees a repository that is made now; one that exists stays as it is.

    Raises:
        FileNotFoundError: there is no connection, or no such revision.
        ValueError: the Hub refuses access.
    """
    from huggingface_hub import HfApi

    hub = HfApi(library_name="fer_lightning")
    with hub_errors(model):
        hub.create_repo(model.repository, private=not public, exist_ok=True)
        commit = hub.upload_folder(
            repo_id=model.repository,
            folder_path=folder,
            revision=model.revision,
            commit_message="Send a model and its card with fer push",
            allow_patterns=[MODEL, CARD],
        )
    return str(commit.commit_url)


def refuse_without_token(model: HubModel) -> None:
    """Refuses to send a model if nobody is logged in.

    Raises:
        ValueError: no token is known.
    """
    from huggingface_hub import get_token

    if not get_token():
        raise ValueError(
            f"no token of the Hugging Face Hub is known, so nothing can be sent to {model.repository}: run `hf auth "
            "login`, or set HF_TOKEN, with a token that may write"
        )


@contextmanager
def hub_errors(model: HubModel) -> Iterator[None]:
    """Turns errors of the Hub's client in this block into messages that say what to do.

    Raises:
        FileNotFoundError: there is no such repository or file, or no connection.
        ValueError: the Hub refuses access.
    """
    from huggingface_hub import errors

    name = model.repository
    try:
        yield
    except errors.GatedRepoError as error:
        raise ValueError(f"{name} is for those who accept its terms: do so there, then `hf auth login`") from error
    except errors.RepositoryNotFoundError as error:
        raise FileNotFoundError(
            f"there is no model {name} on the Hugging Face Hub, or you may not see it: check the name, or log in with "
            "a token that may (`hf auth login`)"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise FileNotFoundError(f"{name} has no revision {model.revision}; expected a branch, tag or commit") from error
    except errors.RemoteEntryNotFoundError as error:
        raise FileNotFoundError(f"{name} is no model of this suite; {AS_SENT}") from error
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        advice = "log in with a token that may do this (`hf auth login`)" if status in (401, 403) else "try again later"
        raise ValueError(f"the Hugging Face Hub answers {status} for {name}: {advice}") from error
    except (OSError, errors.HTTPError) as error:  # type: ignore[attr-defined]  # of the library that the client uses
        raise FileNotFoundError(
            f"the Hugging Face Hub cannot be reached for {name} ({type(error).__name__}): check the connection and the "
            "variables HF_ENDPOINT and HF_HUB_OFFLINE. Models that were fetched before can be used without it"
        ) from error


def _delete(path: Path) -> None:
    """Deletes a file of the cache, which may be a link, and its content."""
    content = path.resolve()
    path.unlink()
    content.unlink(missing_ok=True)
