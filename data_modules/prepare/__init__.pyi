from .audio import prepare_audio as prepare_audio
from .faces import prepare_faces as prepare_faces
from .faces import store_of as store_of
