"""openSMILE functionals of speech: statistics of pitch, energy and spectrum (Li et al., ICMI 2019, section 2.2).

The licence of openSMILE permits research and teaching, but no commercial use. The package is therefore an optional
dependency, which is imported only if descriptors are requested.
"""

import warnings
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from data_modules.audio.settings import AUDIO_RATE
from data_modules.audio.speech import AudioLibraryNotFoundError, Samples

Functionals = Literal["is09", "is10"]
SIZES: dict[Functionals, int] = {"is09": 384, "is10": 1582}
MIN_SECONDS = 0.1  # shorter than this, openSMILE's longest window and its smoothing have no frame


class Descriptors:
    """Compute a set of functionals for a clip.

    The sets are those of the INTERSPEECH 2009 Emotion Challenge (Schuller et al., 2009) and of the INTERSPEECH 2010
    Paralinguistic Challenge (Schuller et al., 2010).

    Args:
        functionals: `is09`, 384 values, or `is10`, 1582.

    Raises:
        AudioLibraryNotFoundError: the package opensmile is not installed.
        ValueError: the installed version of openSMILE computes another number of values.
    """

    def __init__(self, functionals: Functionals) -> None:
        self.functionals, self.size = functionals, SIZES[functionals]
        try:
            import opensmile
        except ImportError as error:
            raise AudioLibraryNotFoundError(
                f"descriptors {functionals!r} need the package opensmile, which is not installed (for research only; "
                "read its licence): pip install 'fer_lightning[opensmile]'"
            ) from error
        self._smile = opensmile.Smile(opensmile.FeatureSet[functionals.upper()], opensmile.FeatureLevel.Functionals)
        if self._smile.num_features != self.size:
            raise ValueError(
                f"openSMILE {opensmile.__version__} has {self._smile.num_features} functionals in {functionals!r}; "
                f"expected {self.size}: install opensmile 2.6"
            )

    def __call__(self, speech: Samples) -> NDArray[np.float32]:
        """Compute the (384,) or (1582,) functionals, unscaled, of (n,) samples of speech.

        Raises:
            ValueError: the speech is too short, or openSMILE returns values that are not finite.
        """
        seconds = len(speech) / AUDIO_RATE
        if seconds < MIN_SECONDS:
            raise ValueError(f"{seconds:.3f} s of speech; openSMILE needs at least {MIN_SECONDS} s")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the checks below cover its warnings
            values = np.asarray(self._smile(speech, AUDIO_RATE), dtype=np.float32).reshape(-1)
        if values.shape != (self.size,) or not np.isfinite(values).all():
            found = f"{values.size} values, {np.sum(~np.isfinite(values))} of them not finite"
            raise ValueError(f"openSMILE returned {found} for {seconds:.2f} s of speech; expected {self.size} numbers")
        return values
