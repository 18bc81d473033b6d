"""certflow: provincial certificate reissue (证书补换), from a city's zip to the signature for the new certificate."""

__version__ = "0.1.0"
