"""Decode: frames and sound of video files, folders, archives and pictures."""
