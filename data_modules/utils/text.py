"""Small pieces of English text for messages and reports."""


def counted(number: int, noun: str) -> str:
    """Returns a number with its noun in the right form, such as `1 clip` and `2 clips`; for nouns that take an s."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def packets_or_images(number: int) -> str:
    """Returns a number of damaged parts of videos in words, such as `1 packet or image`."""
    return f"{counted(number, 'packet')} or {'image' if number == 1 else 'images'}"
