from .audio import prepare_audio as prepare_audio
from .faces import prepare_faces as prepare_faces
from .faces import store_for as store_for
