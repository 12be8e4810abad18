"""Lee et al., Visual scene-aware hybrid and multi-modal feature aggregation, Sensors 2020."""
