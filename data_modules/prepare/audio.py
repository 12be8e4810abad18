"""Prepares the audio fields of models from stored audio: in parallel, resumable, with the reason of each failure."""

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from functools import partial

from data_modules.audio.speech import check_libraries
from data_modules.store.audio_cache import AudioCache
from data_modules.store.clip_file import ClipSummary
from data_modules.store.clip_store import ClipStore
from data_modules.utils.pool import Failure, run_in_processes
from data_modules.utils.progress import progress

TIME_LIMIT = 300.0  # seconds for a clip
SHOWN = 10  # clips that are named in the terminal


class AudioPreparer:
    """Computes a clip's missing audio fields; libraries are loaded once.

    Args:
        store: the store of the clips.
        audio_cache: the cache that the fields are written to.
        fields: names of the fields.

    Raises:
        AudioLibraryNotFoundError: a package is missing.
    """

    def __init__(self, store: ClipStore, audio_cache: AudioCache, fields: AbstractSet[str]) -> None:
        check_libraries(audio_cache.audio)
        self._store, self._audio_cache, self._files = (
            store,
            audio_cache,
            [audio_cache.files[field] for field in sorted(fields)],
        )
        for files in self._files:
            _ = files.make  # loads libraries, or raises an error about a missing one

    def __call__(self, clip_id: str) -> str:
        """Writes the clip's fields; returns the reason if any could not be computed, otherwise an empty text."""
        missing = [files for files in self._files if not files.has(clip_id)]
        values, reason = self._audio_cache.make(self._store.open(clip_id), [files.field.name for files in missing])
        for files in missing:
            if files.field.name in values:
                files.write(clip_id, values[files.field.name])
        return reason


def prepare_audio(
    store: ClipStore,
    audio_cache: AudioCache,
    fields: AbstractSet[str],
    workers: int,
    name: str,
    limit: float = TIME_LIMIT,
) -> None:
    """Computes the audio fields of all clips that have audio; existing ones are kept.

    Clips that fail are listed in the field's table of failures and printed; they are tried again when their file in the
    store has changed. Clips whose process was killed or stopped are printed too, and tried again in the next call.

    Args:
        store: the store of the clips.
        audio_cache: the cache that the fields are written to.
        fields: names of the fields; empty if the model uses no audio.
        workers: number of processes; 0 to work in this process.
        name: name of the data set.
        limit: time limit for a clip in seconds.

    Raises:
        AudioLibraryNotFoundError: a package is missing.
    """
    if not fields:
        return
    index = store.read_index()
    failures = {field: dict(audio_cache.files[field].failures()) for field in sorted(fields)}
    pending = [
        clip for clip, summary in index.items() if summary.audio and _is_incomplete(store, audio_cache, clip, failures)
    ]
    if pending:
        make: Callable[[], AudioPreparer] = partial(AudioPreparer, store, audio_cache, fields)
        with progress(f"{name}: {' and '.join(failures)}", len(pending)) as advance:
            results = run_in_processes(make, pending, min(workers, len(pending)), limit, tries=2)
            for done, (clip_id, result) in enumerate(results, start=1):
                reason = result.reason if isinstance(result, Failure) else result
                is_passing = isinstance(result, Failure) and result.passing
                if is_passing:
                    print(f"{name}: {clip_id}: failed for now: {reason}", flush=True)
                for field, failed in failures.items():
                    failed.pop(clip_id, None)
                    if not is_passing and not audio_cache.files[field].has(clip_id):
                        failed[clip_id] = " ".join(reason.split())
                advance(done)
        for field, failed in failures.items():
            audio_cache.files[field].write_failures(failed)
        _print_summary(list(index.values()), audio_cache, failures, name)


def _is_incomplete(
    store: ClipStore, audio_cache: AudioCache, clip_id: str, failures: dict[str, dict[str, str]]
) -> bool:
    """Returns whether any field of a clip still has to be computed."""
    for field, failed in failures.items():
        files = audio_cache.files[field]
        if files.has(clip_id):
            continue
        has_failed = clip_id in failed and files.failed is not None
        if not has_failed or store.path(clip_id).stat().st_mtime > files.failed.stat().st_mtime:  # type: ignore[union-attr]
            return True
    return False


def _print_summary(
    index: list[ClipSummary], audio_cache: AudioCache, failures: dict[str, dict[str, str]], name: str
) -> None:
    """Prints how many clips have each field, and the first clips for which it failed."""
    with_audio = sum(summary.audio > 0 for summary in index)
    silent = len(index) - with_audio
    for field, failed in failures.items():
        print(f"{name}: {field} of {with_audio - len(failed)} of {len(index)} clips; {silent} have no audio")
        for clip_id, reason in list(failed.items())[:SHOWN]:
            print(f"  {clip_id}: no {field}: {reason}")
        if failed:
            print(f"  {len(failed)} clips without {field} in all, listed in {audio_cache.files[field].failed}")
