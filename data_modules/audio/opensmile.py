"""openSMILE's functionals of a clip's speech (Li et al., 2019, section 2.2): statistics of pitch, energy and spectrum.

openSMILE's licence allows research and teaching, and no commercial use: it is an extra, installed and imported by those
alone who ask for these descriptors.
"""

import warnings
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from data_modules.audio.settings import AUDIO_RATE
from data_modules.audio.speech import AudioLibraryNotFoundError, Samples

Functionals = Literal["is09", "is10"]
SIZES: dict[Functionals, int] = {"is09": 384, "is10": 1582}
SHORTEST = 0.1  # seconds: less gives openSMILE's longest window and its smoothing nothing to work with


class Descriptors:
    """A set of functionals: the INTERSPEECH 2009 emotion challenge's, or the 2010 paralinguistic challenge's.

    Args:
        functionals: `is09`, 384 values, or `is10`, 1582.

    Raises:
        SoundLibraryNotFoundError: the package opensmile is not installed.
        ValueError: the installed version has another number of values.
    """

    def __init__(self, functionals: Functionals) -> None:
        self.functionals, self.size = functionals, SIZES[functionals]
        try:
            import opensmile
        except ImportError as error:
            raise AudioLibraryNotFoundError(
                f"descriptors {functionals!r} need the package opensmile, which is not installed (for research alone; "
                "read its licence): pip install 'fer_lightning[opensmile]'"
            ) from error
        self._smile = opensmile.Smile(opensmile.FeatureSet[functionals.upper()], opensmile.FeatureLevel.Functionals)
        if self._smile.num_features != self.size:
            raise ValueError(
                f"openSMILE {opensmile.__version__} has {self._smile.num_features} functionals in {functionals!r}; "
                f"expected {self.size}: install opensmile 2.6"
            )

    def __call__(self, speech: Samples) -> NDArray[np.float32]:
        """(n,) speech -> (384,) or (1582,), unscaled.

        Raises:
            ValueError: the speech is too short, or openSMILE gives values that are no numbers.
        """
        seconds = len(speech) / AUDIO_RATE
        if seconds < SHORTEST:
            raise ValueError(f"{seconds:.3f} s of speech; openSMILE needs {SHORTEST} s or more")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what it warns of is refused below
            values = np.asarray(self._smile(speech, AUDIO_RATE), dtype=np.float32).reshape(-1)
        if values.shape != (self.size,) or not np.isfinite(values).all():
            wrong = f"{values.size} values, {np.sum(~np.isfinite(values))} of them no numbers"
            raise ValueError(f"openSMILE made {wrong} of {seconds:.2f} s of speech; expected {self.size} numbers")
        return values
