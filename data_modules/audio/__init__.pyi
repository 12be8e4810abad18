from .opensmile import Descriptors as Descriptors
from .settings import SOUND_RATE as SOUND_RATE
from .settings import Sound as Sound
from .spectrogram import spectrogram as spectrogram
from .speech import speech_of as speech_of
