"""certflow: provincial certificate reissue (证书补换), from a city's zip to the signature for the new certificate."""

import os

__version__ = "0.1.0"

# Threads are ours: a city's photos keep every core busy, several cities at once. Those of numpy's algebra spin while
# they wait for a core (measured: 44 ms instead of 3 for one second look at two photos). Read when numpy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
