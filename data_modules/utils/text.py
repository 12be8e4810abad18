"""Small pieces of English text for messages and reports."""


def counted(number: int, noun: str) -> str:
    """Returns a number with its noun in the right form, such as `1 clip` and `2 clips`; for nouns that take an s."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def packets_or_images(number: int) -> str:
    """Returns a number of damaged parts of videos in words, such as `1 packet or image`."""
    return f"{counted(number, 'packet')} or {'image' if number == 1 else 'images'}"


def damage(broken: int, missing: float) -> str:
    """Returns in words what of a video could not be read; empty if everything could.

    Args:
        broken: number of packets or images that cannot be decoded.
        missing: seconds at the end that the file declares but does not have.
    """
    parts = [f"{packets_or_images(broken)} that cannot be decoded"] if broken else []
    parts += [f"the file was cut off: its last {missing:.1f} s are missing"] if missing else []
    return "; ".join(parts)


def printable_line(text: object) -> str:
    """Escapes what cannot be printed in a name or message, line breaks included: it might control the terminal."""
    line = str(text).encode("utf-8", "backslashreplace").decode()
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in line)
