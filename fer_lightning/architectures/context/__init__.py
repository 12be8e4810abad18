"""Do et al., Context-aware emotion recognition in the wild, Sensors 2021."""
