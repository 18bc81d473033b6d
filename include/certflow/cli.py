"""The command line: ``certflow …``."""
