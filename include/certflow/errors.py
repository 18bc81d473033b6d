"""Every error certflow raises on purpose, as one tree.

::

    CertflowError
    ├── ConfigurationError   settings, a reference table or a rule suite is wrong: the operator mends it
    ├── SubmissionError      a city's file cannot be read as what it claims to be: goes back, never retried
    ├── TransferError        a connection, the database or a remote folder failed for now: retried with back-off
    │   └── AccessRefused    wrong host key, wrong login, no permission: never retried, somebody is alarmed
    ├── Conflict             two facts disagree or an order was overtaken: a person decides, never retried
    │   └── Busy             another run does the same work at this moment: this one ends, nothing is lost
    └── DigestMismatch       bytes differ from the digest recorded for them: work stops, nothing is sent
        └── SealBroken       a sealed file is not what was sealed: it comes back from a backup

Problems of a *row* are data (`certflow.findings.Finding`), never exceptions.

Messages say what, where and what to do. They never carry personal data: no name, no ID number, no
photo file name (photo file names *are* ID numbers); rows are named by record id or row number.
"""


class CertflowError(Exception):
    """Root of the tree; catching it catches everything certflow raises on purpose."""


class ConfigurationError(CertflowError):
    """A setting, a reference table or a rule suite is wrong; the message names the place and the mend."""


class SubmissionError(CertflowError):
    """A file from outside cannot be read as what it claims to be.

    `fault` is the token the rule suites judge (for instance ``traversal``), `detail` the words that fill
    the message: a count, a method name, a limit; never an entry name that may be an ID number.
    """

    def __init__(self, fault: str, detail: str = "") -> None:
        super().__init__(f"{fault}: {detail}" if detail else fault)
        self.fault = fault
        self.detail = detail


class TransferError(CertflowError):
    """A connection, the database, a remote folder or a remote disk failed for now; trying again may work."""


class AccessRefused(TransferError):
    """Host key, login or permission is wrong; trying again only makes it worse."""


class Conflict(CertflowError):
    """Two facts disagree, or an order was overtaken by another; a person decides."""


class Busy(Conflict):
    """Another run holds the lock for the same work; this one has nothing to do."""


class DigestMismatch(CertflowError):
    """Bytes differ from the digest recorded for them; whatever was to happen with them does not."""


class SealBroken(DigestMismatch):
    """A file at rest under a key (`certflow.vault`) was changed, cut off or damaged; what it holds is not used."""
