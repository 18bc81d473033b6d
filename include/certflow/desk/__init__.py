"""The desk: what is wrong, whose turn it is, and what to press; pages for people who are not engineers."""
