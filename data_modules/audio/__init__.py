"""Speech without noise and pauses, spectrograms, and openSMILE's functionals."""
