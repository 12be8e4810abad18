from .frames import PooledBackbone as PooledBackbone
from .frames import PooledVGG as PooledVGG
from .pyramid import ContextTemporalPyramid as ContextTemporalPyramid
from .spatiotemporal import ContextSpatiotemporal as ContextSpatiotemporal
