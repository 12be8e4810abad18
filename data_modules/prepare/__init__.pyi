from .audio import prepare_sound as prepare_sound
from .faces import prepare_faces as prepare_faces
from .faces import store_of as store_of
