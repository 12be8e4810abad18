"""What an error says, in one line."""


def first_line(error: Exception) -> str:
    """What an error says, without the traceback of another process that may be in it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return (lines[-1] if "Traceback" in str(error) else lines[0]).rstrip(".;")
