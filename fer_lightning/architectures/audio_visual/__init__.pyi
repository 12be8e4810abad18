from .network import AudioVisual as AudioVisual
