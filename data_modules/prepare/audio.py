"""From stored sound to what models hear: in parallel, resumable, each clip that fails named with its reason."""

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
    """Makes a clip's missing fields; its libraries are loaded once.

    Args:
        store: of the clips.
        audio_cache: where the fields go.
        fields: which ones.

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
            _ = files.make  # loads what it needs, or says what is missing

    def __call__(self, clip_id: str) -> str:
        """Writes the clip's fields; returns why there are not all of them."""
        missing = [files for files in self._files if not files.has(clip_id)]
        made, reason = self._audio_cache.make(self._store.open(clip_id), [files.recipe.field for files in missing])
        for files in missing:
            if files.recipe.field in made:
                files.write(clip_id, made[files.recipe.field])
        return reason


def prepare_audio(
    store: ClipStore,
    audio_cache: AudioCache,
    fields: AbstractSet[str],
    workers: int,
    name: str,
    limit: float = TIME_LIMIT,
) -> None:
    """Makes the fields of all clips with sound; what is there already stays.

    A clip for which it fails stays in the field's table of failures, is told of, and is tried again when its file in
    the store has changed since. One whose process was killed or stopped is told of, and tried again in the next call.

    Args:
        store: of the clips.
        audio_cache: where the fields go.
        fields: which ones; none where the model does not listen.
        workers: number of processes; 0 for none besides this one.
        name: of the data set.
        limit: seconds for a clip.

    Raises:
        AudioLibraryNotFoundError: a package is missing.
    """
    if not fields:
        return
    index = store.read_index()
    failures = {field: audio_cache.files[field].failures() for field in sorted(fields)}
    todo = [clip for clip, summary in index.items() if summary.audio and _lacks(store, audio_cache, clip, failures)]
    if todo:
        make: Callable[[], AudioPreparer] = partial(AudioPreparer, store, audio_cache, fields)
        with progress(f"{name}: {' and '.join(failures)}", len(todo)) as advance:
            results = run_in_processes(make, todo, min(workers, len(todo)), limit, tries=2)
            for done, (clip_id, result) in enumerate(results, start=1):
                reason = result.reason if isinstance(result, Failure) else result
                passing = isinstance(result, Failure) and result.passing
                if passing:
                    print(f"{name}: {clip_id}: failed for now: {reason}", flush=True)
                for field, failed in failures.items():
                    failed.pop(clip_id, None)
                    if not passing and not audio_cache.files[field].has(clip_id):
                        failed[clip_id] = " ".join(reason.split())
                advance(done)
        for field, failed in failures.items():
            audio_cache.files[field].write_failures(failed)
        _tell(list(index.values()), audio_cache, failures, name)


def _lacks(store: ClipStore, audio_cache: AudioCache, clip_id: str, failures: dict[str, dict[str, str]]) -> bool:
    """Whether a field of a clip is still to be made."""
    for field, failed in failures.items():
        files = audio_cache.files[field]
        if files.has(clip_id):
            continue
        known = clip_id in failed and files.failed is not None
        if not known or store.path(clip_id).stat().st_mtime > files.failed.stat().st_mtime:  # type: ignore[union-attr]
            return True
    return False


def _tell(index: list[ClipSummary], audio_cache: AudioCache, failures: dict[str, dict[str, str]], name: str) -> None:
    """Prints how many clips have each field, and names those for which it failed."""
    heard = sum(summary.audio > 0 for summary in index)
    for field, failed in failures.items():
        print(f"{name}: {field} of {heard - len(failed)} of {len(index)} clips; {len(index) - heard} have no sound")
        for clip_id, reason in list(failed.items())[:SHOWN]:
            print(f"  {clip_id}: no {field}: {reason}")
        if failed:
            print(f"  {len(failed)} clips without {field} in all, listed in {audio_cache.files[field].failed}")
