"""The evidence of a span of days in one zip: one flipped bit anywhere is found and named (F48, F49)."""

import datetime as dt
import json
import random
import shutil
import subprocess
import sys
import zipfile

import pytest
from as_owner import as_owner
from printed_month import print_month
from small_month import Person
from sqlalchemy import text

from certflow import signing
from certflow.delivery import verify_evidence
from certflow.delivery.bundle import export, script
from certflow.errors import Conflict, DigestMismatch
from certflow.month import SHANGHAI
from certflow.registry.doctor import examine

TODAY = dt.datetime.now(SHANGHAI).date()
DAYS = (TODAY - dt.timedelta(1), TODAY)


@pytest.fixture
def bundle(settings, registry, actor, tmp_path):
    """A printed month, exported; the doctor agrees with it."""
    print_month(settings, registry, [Person(1, photo=b"a" * 400), Person(2, photo=None)], tmp_path)
    made = export(settings, registry, DAYS, tmp_path / "evidence.zip", actor=actor)
    assert not any(examine(registry, settings).values())
    return made.file


@pytest.fixture
def faults(bundle, settings):
    """What the script finds in a bundle of these bytes."""
    public = signing.public_key(settings)
    spoilt = bundle.with_name("spoilt.zip")

    def look(data):
        spoilt.write_bytes(data)
        return verify_evidence.faults(spoilt, public)

    return look


def test_the_script_alone_verifies_a_bundle(bundle, settings, tmp_path):
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "verify_evidence.py").write_text(script(), encoding="utf-8")
    assert "import certflow" not in script()
    assert "from certflow" not in script()
    shutil.copy(bundle, alone / "e.zip")
    (alone / "key").write_text(signing.public_key(settings).hex())
    words = [sys.executable, "-I", "-S", "verify_evidence.py", "--key"]
    good = subprocess.run([*words, "key", "e.zip"], cwd=alone, capture_output=True, check=False)
    assert (good.returncode, good.stdout.decode()) == (0, "e.zip：完好\n")
    (alone / "e.zip").write_bytes(bundle.read_bytes()[:-1])
    bad = subprocess.run([*words, "key", "e.zip"], cwd=alone, capture_output=True, check=False)
    assert bad.returncode == 1
    assert "压缩包" in bad.stdout.decode()
    assert subprocess.run(words[:-1], cwd=alone, capture_output=True, check=False).returncode == 2


def test_the_bundle_holds_the_chain_the_files_and_the_manifests(bundle, registry):
    with zipfile.ZipFile(bundle) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        rows = [json.loads(line) for line in archive.read("audit.jsonl").splitlines()]
        document = json.loads(archive.read("evidence.json"))
    with registry.read() as conn:
        (many,) = conn.execute(text("SELECT count(*) FROM audit WHERE seq <= :last"), {"last": rows[-1]["seq"]}).one()
    assert len(rows) == many
    assert sum(name.startswith("originals/") for name in names) == 2  # the city's zip, the authority's return
    assert [name for name in names if name.startswith("manifests/")] == ["manifests/1.json"]
    assert set(document["members"]) == set(names) - {"evidence.json"}


@pytest.mark.usefixtures("bundle")
def test_the_same_days_give_the_same_bytes(settings, registry, actor, tmp_path, monkeypatch):
    """An export is chained too, so it belongs to the day it was made on; without that nothing differs."""
    monkeypatch.setattr("certflow.delivery.bundle.note", lambda *_, **__: None)
    first, second = (export(settings, registry, DAYS, tmp_path / name, actor=actor) for name in ("a.zip", "b.zip"))
    assert first.file.read_bytes() == second.file.read_bytes()


@pytest.mark.parametrize("flips", [100, pytest.param(3000, marks=pytest.mark.long)])
def test_f48_f49_any_flipped_bit_is_found(bundle, faults, flips):
    """Random bits of the whole zip, its headers and directory too: each one is found."""
    data = bundle.read_bytes()
    assert faults(data) == []
    chance = random.Random(48)
    for _ in range(flips):
        at = chance.randrange(len(data) * 8)
        spoilt = bytearray(data)
        spoilt[at // 8] ^= 1 << at % 8
        assert faults(bytes(spoilt)), f"nobody missed bit {at}"


def places(bundle):
    """Member → where its bytes begin."""
    with zipfile.ZipFile(bundle) as archive:
        return {one.filename: one.header_offset + 30 + len(one.filename.encode()) for one in archive.infolist()}


@pytest.mark.parametrize(
    ("member", "said"),
    [
        ("audit.jsonl", "审计记录 1 "),
        ("moves.jsonl", "moves.jsonl"),
        ("evidence.json", "清单 evidence.json"),
        ("manifests/1.json", "数据包清单 manifests/1.json"),
        ("transfers.jsonl", "transfers.jsonl"),
        ("heads.log", "库外链头第 1 行"),
    ],
)
def test_f48_f49_what_was_altered_is_named(bundle, faults, member, said):
    data = bytearray(bundle.read_bytes())
    data[places(bundle)[member] + 40] ^= 1
    assert said in "\n".join(faults(bytes(data)))


def test_an_altered_original_is_named_by_its_digest(bundle, faults):
    name = next(name for name in places(bundle) if name.startswith("originals/"))
    data = bytearray(bundle.read_bytes())
    data[places(bundle)[name] + 5] ^= 1
    assert name.removeprefix("originals/")[:12] in "\n".join(faults(bytes(data)))


def test_a_member_left_out_or_put_in_is_named(bundle, settings, tmp_path):
    from certflow.zips import write_zip

    members = dict(verify_evidence.members(bundle, []))
    gone = members.pop("transfers.jsonl")
    members["zz.txt"] = gone
    other = tmp_path / "other.zip"
    with other.open("wb") as stream:
        write_zip(stream, sorted(members.items()))
    told = "\n".join(verify_evidence.faults(other, signing.public_key(settings)))
    assert "缺少成员 transfers.jsonl" in told
    assert "多出成员 zz.txt" in told


def test_a_bundle_signed_by_somebody_else_is_refused(bundle):
    assert verify_evidence.faults(bundle, bytes(32)) == ["清单 evidence.json 不是用这把密钥签名的"]


def test_f48_a_flipped_bit_in_the_database_is_named_by_the_doctor_and_stops_the_export(
    bundle, settings, registry, actor, tmp_path
):
    with registry.read() as conn:
        rows = conn.execute(text("SELECT seq, prev, payload, hash FROM audit ORDER BY seq")).all()
    chance = random.Random(49)
    for row in chance.sample(rows, 4):
        column = chance.choice(("prev", "payload", "hash"))
        value = bytearray(getattr(row, column).encode())
        ascii_places = [at for at, byte in enumerate(value) if 0x21 <= byte < 0x7F and (byte ^ 1) >= 0x21]
        value[chance.choice(ascii_places)] ^= 1
        spoil(registry, row.seq, column, value.decode())
        assert f"审计记录 {row.seq} " in "\n".join(examine(registry, settings)["I7"])
        with pytest.raises(DigestMismatch, match="doctor"):
            export(settings, registry, DAYS, tmp_path / "never.zip", actor=actor)
        spoil(registry, row.seq, column, getattr(row, column))
    assert not (tmp_path / "never.zip").exists()
    assert not any(examine(registry, settings).values())


def spoil(registry, seq, column, value):
    """As the database's owner could, past every trigger."""
    with as_owner(registry, triggers=False) as connection:
        connection.execute(text(f"UPDATE audit SET {column} = :value WHERE seq = :seq"), {"value": value, "seq": seq})


def test_a_lost_original_stops_the_export(bundle, settings, registry, actor, tmp_path):
    next(settings.originals.glob("*/*.bin")).unlink()
    with pytest.raises(DigestMismatch, match="原件"):
        export(settings, registry, DAYS, tmp_path / "never.zip", actor=actor)
    made = export(settings, registry, DAYS, tmp_path / "digests.zip", actor=actor, with_files=False)
    assert made.originals == 0
    assert [path.name for path in tmp_path.glob("*.part")] == []


def test_days_without_anything_are_told(settings, registry, actor, tmp_path):
    with pytest.raises(Conflict, match="没有任何审计记录"):
        export(settings, registry, DAYS, tmp_path / "e.zip", actor=actor)
