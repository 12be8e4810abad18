"""The command line: one file for each command, with the command's name."""
