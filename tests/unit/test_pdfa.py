"""Our PDFs before a validator that is not ours: Apache PDFBox Preflight.

It knows PDF/A-1b, the stricter parent of the PDF/A-2b we write. Of all its rules we may break exactly the two that 2b
changed: the part a file declares, and ICC profiles of version 4. A validator of 2b itself is in no package registry.
"""

import datetime as dt
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from certflow import pdf
from certflow.demo.portraits import encode, paint

JARS = [
    Path("/usr/share/java", f"{name}.jar")
    for name in (
        "preflight", "pdfbox2", "xmpbox", "fontbox2", "commons-logging", "commons-io", "javax.activation", "jaxb-api",
    )
]  # fmt: skip
ALLOWED = {
    "2.1.6 : Invalid graphics object, Invalid version of the ICCProfile",
    "7.11.2 : Error on MetaData, part must be 1",
}

pytestmark = pytest.mark.skipif(
    shutil.which("java") is None or not all(jar.exists() for jar in JARS),
    reason="PDF/A IS NOT VALIDATED: no Preflight here "
    "(apt-get install default-jre-headless libpdfbox2-java libactivation-java libjaxb-api-java libcommons-io-java)",
)

PROOF = {
    "name": "王䶮𬱖", "id_type": "居民身份证", "id_number": "11010519491231002X", "exam": "一级建造师",
    "management_no": "20100103437000000123", "level": "一级", "specialty": "港口与航道工程", "ends": "新证书印制完成",
    "approved_on": "2010年9月20日", "city": "济南市", "purpose": "投标", "number": "鲁人考证〔2026〕成00001号",
    "issued_on": "2026年11月23日", "code": "7K3M-9QXC", "verify": "", "qr": pdf.qr_svg("7K3M9QXC"),
}  # fmt: skip
APPLICATION = PROOF | {"heading": "申请", "sex": "女", "birth_month": "1949年12月"}
LINE = {"kind": "成绩合格证明", "name": "阿卜杜热依木·买买提", "management_no": "1", "number": "2"}
PAGES = {
    "proof-score": PROOF,
    "proof-qualification": PROOF,
    "proof-list": {"title": "清单", "city": "济南市", "bundle": "1", "lines": [LINE], "issued_on": ""},
    "application": APPLICATION,
    "application-ruankao": APPLICATION,
    "application-tongxin": APPLICATION,
    "acceptance": PROOF | {
        "lines": [{"material": "照片", "state": "已收文件", "detail": "ab" * 32}], "missing": [],
        "by": "李四", "at": "",
    },
    "old-list": {
        "city": "济南市", "at": "",
        "lines": [{"reference": "D-1", "name": "王晓[沛]", "form": "登记表", "state": "材料不全", "missing": "印章"}],
    },
}  # fmt: skip


def complaints(file):
    """What Preflight finds, each rule once, without the page."""
    command = ["java", "-cp", ":".join(map(str, JARS)), "org.apache.pdfbox.preflight.Validator_A1b", str(file)]
    seen = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert "PDF/A-1b file" in seen.stdout, seen.stderr
    return {re.sub(r" on page \d+$", "", line) for line in seen.stdout.splitlines()[1:] if line.strip()}


def test_every_page_of_ours_keeps_the_rules_of_pdf_a(tmp_path):
    photo = list(encode(paint(np.random.default_rng(3))))
    press = pdf.Press(None, None)
    parts = [(press.template(name), data | {"photo": photo}) for name, data in PAGES.items()]
    file = tmp_path / "all.pdf"
    file.write_bytes(press.bind(parts, title="证明", at=dt.datetime(2026, 11, 23, tzinfo=dt.UTC)))
    assert complaints(file) == ALLOWED


def test_the_validator_is_no_yes_sayer(tmp_path):
    """A PDF of another writer, without metadata, breaks other rules than the two."""
    file = tmp_path / "plain.pdf"
    Image.new("RGB", (10, 10)).save(file)
    assert complaints(file) - ALLOWED
