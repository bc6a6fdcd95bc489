"""What went wrong with the user's input, said in the user's words."""


class InputError(ValueError):
    """Bad input: the message quotes what was given, says what was expected and what to do.

    The command line prints the message alone and exits with code 2.
    """
