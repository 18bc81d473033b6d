"""A city's file is taken whole or not at all, whatever the wire does."""

import dataclasses
import io
import os
import zipfile

import pytest
from sqlalchemy import func, select

from certflow.errors import TransferError
from certflow.intake.pull import pull
from certflow.registry import schema

pytestmark = pytest.mark.openssh
STEM = "202005-034-一级建造师(证书补换印制信息)数据(济南市)(1人)"


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99, 1.0])
def test_f01_cut_at_any_byte_of_a_download_no_part_of_it_counts(office, registry, actor, city, wire, share):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("x.XLS", os.urandom(400_000))
    inbox = city.tree / "370100" / "报送"
    (inbox / f"{STEM}.zip").write_bytes(buffer.getvalue())
    wire.cut_after["down"] = 10_000 + int(400_000 * share)
    broken = dataclasses.replace(office, city_sftp=wire.remote, transfer_timeout=5)
    with pytest.raises(TransferError):
        pull(broken, registry, "370100", actor)
    with registry.read() as conn:
        before = conn.scalar(select(func.count()).select_from(schema.files))
    pull(office, registry, "370100", actor)
    with registry.read() as conn:
        (row,) = conn.execute(select(schema.files.c.sha256, schema.files.c.size, schema.files.c.duplicate_of)).all()
    assert row.size == len(buffer.getvalue())
    assert row.duplicate_of is None
    assert office.original(row.sha256).read_bytes() == buffer.getvalue()
    assert before in (0, 1)
    assert list(inbox.iterdir()) == []
