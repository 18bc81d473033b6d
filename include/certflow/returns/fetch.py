"""Fetch what the authority has returned: each file of 返回 becomes an original and one row of `returns`.

Nothing is moved or removed there: the folder is the authority's. What was read before is known by name, size
and time, as long as the ledger knows its digest, and our copy is whole where it is still to be read; bytes that
are known already count for nothing under any name (R02).
"""

import hashlib
import time

from certflow import originals, vault
from certflow.errors import AccessRefused, ConfigurationError, TransferError
from certflow.registry import transfers
from certflow.registry.ledger import Actor, Registry
from certflow.settings import Settings
from certflow.sftp import RemoteFile, connect


def fetch(settings: Settings, registry: Registry, actor: Actor) -> list[int]:
    """Bring in every new complete file; ids of the returns recorded by this call.

    May be run again at any time; two at once: the second ends with Busy.

    Raises:
        AccessRefused: login, host key, or a file that may not be read; all others are recorded all the same.
        TransferError: for now, of one file or of all; the others are recorded all the same.
    """
    if settings.authority_sftp is None:
        raise ConfigurationError("没有配置上级服务器：请设置 CERTFLOW_AUTHORITY_SFTP")
    folder = f"/{settings.folders.returned}/"
    memory = settings.path("inbox", "returns.json")
    patience = originals.Patience(settings.path("inbox", "returns-waiting.json"))
    recorded: list[int] = []
    failed: list[TransferError] = []
    with registry.lock("fetch"), connect(settings.authority_sftp, settings.transfer_timeout) as session:
        originals.sweep(settings, "returns")
        with registry.read() as conn:
            recorded_before = transfers.known_returns(conn)
        here = {
            digest for digest, size in recorded_before.items()
            if size is None or vault.holds(settings.original(digest), size, digest)
        }  # fmt: skip
        read = {key: digest for key, digest in originals.remembered(memory).items() if digest in here}
        first = {file.raw_name: file for file in session.list(folder) if file.regular and _key(file) not in read}
        if not first:
            return []
        time.sleep(settings.look_seconds)
        session.prepare_reads()
        for file in session.list(folder):
            if not originals.unchanged(first.get(file.raw_name), file):
                continue
            path = folder.encode() + file.raw_name
            ended = patience.seconds("returns", file) >= originals.PATIENCE_SECONDS
            try:
                digest = originals.take(settings, session, path, file, errand="returns", ended=ended)
            except TransferError as error:  # one file's trouble stays its own; a broken connection ends the fetch
                if session.stat(path) is not None:  # else taken away again (T17)
                    failed.append(error)
                continue
            if digest is None:
                continue
            if digest not in recorded_before:
                with registry.begin(actor) as conn:
                    recorded.append(transfers.record_return(conn, file.name, digest, file.size))
                recorded_before[digest] = file.size
            read[_key(file)] = digest
            originals.remember(memory, read)
    patience.save()
    if failed:
        kind = AccessRefused if all(isinstance(one, AccessRefused) for one in failed) else TransferError
        raise kind(f"上级的 {folder} 中有 {len(failed)} 个文件没有取回，其余的已取回；{failed[0]}")
    return recorded


def _key(file: RemoteFile) -> str:
    return hashlib.sha256(f"{file.raw_name.hex()}/{file.size}/{file.mtime}".encode()).hexdigest()
