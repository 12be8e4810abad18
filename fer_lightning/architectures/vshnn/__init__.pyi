from .landmark_mlp import LandmarkMLP as LandmarkMLP
from .landmark_mlp import LandmarkNet as LandmarkNet
from .network import VSHNN as VSHNN
from .single_streams import AppearanceRNN as AppearanceRNN
from .single_streams import SceneCNN as SceneCNN
