"""A synthetic province whose defects are known, and the servers it talks to."""
