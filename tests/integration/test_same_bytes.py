"""Same content, same bytes: in another process, time zone and locale, after a restart, on other Python versions."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GOLDEN = "ef5ec8e6b0e555d0e9098fcf366a5c3ef879e84c1392c170e52fa30df83f1223"
"""What every machine and every Python from 3.11 on has to come to; it changes when the format does, on purpose."""

SCRIPT = """
import hashlib, io, sys
from certflow import excel
from certflow.findings import FIELDS
from certflow.zips import write_zip
stem = "202005-034-一级建造师(证书补换印制信息)数据(山东省)(1200人)"
names = ("张三", "买买提·艾力", "王晓[沛]", "\\U00020bb7野", "=1+1", "")
rows = [[f"20100103437{n:07d}", names[n % 6], f"11010519491231{n:03d}X", "居民身份证", "男", "一级", "建筑工程",
         "194912", "20100101", f"{n}.jpg", "济南市"] for n in range(1200)]
out = io.BytesIO()
photos = sorted((f"{stem}/{n}.jpg", bytes([n % 256]) * 50) for n in range(1200))
write_zip(out, [(f"{stem}.XLS", excel.write_xls(FIELDS, rows)), *photos], sys.argv[1])
print(hashlib.sha256(out.getvalue()).hexdigest())
"""


def digest(python=sys.executable, names="utf-8", **environment):
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "include"), **environment}
    done = subprocess.run([python, "-c", SCRIPT, names], env=env, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()[-300:]
    return done.stdout.decode().strip()


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"TZ": "Pacific/Kiritimati", "PYTHONHASHSEED": "1"},
        {"TZ": "America/Anchorage", "LC_ALL": "C", "PYTHONHASHSEED": "2"},
        {"TZ": "Asia/Shanghai", "LC_ALL": "C.UTF-8", "PYTHONOPTIMIZE": "2"},
    ],
    ids=["plain", "east", "west", "shanghai"],
)
def test_the_same_content_is_the_same_bytes_everywhere(environment):
    assert digest(**environment) == GOLDEN


def test_the_other_spelling_of_names_is_other_bytes_and_the_same_twice():
    assert digest(names="gb18030") == digest(names="gb18030", TZ="Pacific/Kiritimati") != GOLDEN


@pytest.mark.parametrize("python", [one for one in os.environ.get("CERTFLOW_PYTHONS", "").split(":") if one])
def test_other_pythons_come_to_the_same_bytes(python):
    assert digest(python) == GOLDEN
