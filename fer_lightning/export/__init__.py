"""Models to take away: one file of weights and settings, and a card that says what they are good for."""
