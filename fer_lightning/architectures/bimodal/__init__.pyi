from .spectrogram_cnn import SpectrogramCNN as SpectrogramCNN
from .visual import CNNBiLSTM as CNNBiLSTM
from .visual import StaticFrameVote as StaticFrameVote
