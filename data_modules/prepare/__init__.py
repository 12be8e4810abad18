"""Prepare a data set: faces and audio of all its clips, resumable and in parallel."""
