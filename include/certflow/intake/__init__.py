"""From a city's folder to a submission that can be judged: pull, unpack, read, gather."""
