"""What figures share: their look, and the clips that they show as examples."""
