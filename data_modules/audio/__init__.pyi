from .opensmile import Descriptors as Descriptors
from .settings import AUDIO_RATE as AUDIO_RATE
from .settings import AudioSettings as AudioSettings
from .spectrogram import spectrogram as spectrogram
from .speech import extract_speech as extract_speech
