"""Shortens the messages of errors."""


def first_line(error: Exception) -> str:
    """Returns an error's message in one line, without the traceback of another process that it may contain."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return (lines[-1] if "Traceback" in str(error) else lines[0]).rstrip(".;")
