"""The same work as people usually spell it: pandas with openpyxl and xlrd, Pillow, zipfile, paramiko, SQL row by row.

No straw men: what stands in the libraries' own examples, without a search for speed, and without what certflow does
beside (limits against hostile files, findings, audit chain).
"""

import csv
import io
import zipfile
from pathlib import Path

import numpy as np
import openpyxl
import pandas as pd
import paramiko
import psycopg
import xlwt
from openpyxl.styles import Alignment, Border, Side
from PIL import Image

WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
SHEET = 65_535
"""Rows an .XLS holds below its header; what is left goes into the next one."""
CHECKED = ("name", "id_number", "level", "specialty", "approved_on")
_FIND = f"SELECT {', '.join(CHECKED)}, id FROM certificates WHERE management_no = %s"


def sheet(data: bytes) -> pd.DataFrame:
    """A workbook as a frame of text."""
    return pd.read_excel(io.BytesIO(data), dtype=str, keep_default_na=False)


def photo(data: bytes) -> list[str]:
    """What is wrong with a photo: format, size, colour, orientation, background."""
    wrong = []
    image = Image.open(io.BytesIO(data))
    if image.format != "JPEG" or image.mode != "RGB":
        wrong.append("format")
    if image.size != (295, 413):
        wrong.append("size")
    if image.getexif().get(0x0112, 1) != 1:
        wrong.append("orientation")
    pixels = np.array(image.convert("RGB"))
    low = pixels.min(axis=2)
    border = np.concatenate([low[:12].ravel(), low[12:186, :12].ravel(), low[12:186, -12:].ravel()])
    if (border >= 245).mean() < 0.95:
        wrong.append("background")
    if np.array(image.convert("L")).std() < 5:
        wrong.append("blank")
    if not 10_240 <= len(data) <= 30_720:
        wrong.append("bytes")
    return wrong


def row(values: pd.Series) -> list[str]:
    """What is wrong with a row by itself."""
    wrong = []
    number = values["ZJHM"].strip().upper()
    if len(number) == 18 and number[:17].isdigit():
        total = sum(int(digit) * weight for digit, weight in zip(number, WEIGHTS, strict=False))
        if "10X98765432"[total % 11] != number[17]:
            wrong.append("check digit")
        if values["CSNY"] != number[6:12]:
            wrong.append("birth")
        if values["XB"] != ("男" if int(number[16]) % 2 else "女"):
            wrong.append("sex")
    else:
        wrong.append("length")
    if pd.isna(pd.to_datetime(values["PZRQ"], format="%Y%m%d", errors="coerce")):
        wrong.append("date")
    if not values["KSXM"].strip():
        wrong.append("name")
    if int(values["PZRQ"][:4]) < 2017 and values["ZP"] != f"{values['ZJHM']}.jpg":
        wrong.append("photo")
    wrong += [name for name in ("ZSGLH", "XB", "BKJB", "BKZY", "BMS") if not values[name].strip()]
    return wrong


def rows(frame: pd.DataFrame) -> pd.Series:
    """What is wrong with each row, and which 管理号 come twice."""
    found = frame.apply(row, axis=1)
    for at in frame.index[frame["ZSGLH"].duplicated()]:
        found[at].append("twice")
    return found


def match(connection: psycopg.Connection, frame: pd.DataFrame) -> list[list[str]]:
    """What differs from the certificate database, one query a row."""
    different = []
    for _, one in frame.iterrows():
        found = connection.execute(_FIND, (one["ZSGLH"],)).fetchone()
        sent = (one["KSXM"], one["ZJHM"], one["BKJB"], one["BKZY"], one["PZRQ"])
        if found is None:
            different.append(["unknown"])
        else:
            pairs = zip(CHECKED, found, sent, strict=False)
            different.append([name for name, held, given in pairs if held != given])
    return different


def look_up(connection: psycopg.Connection, numbers: list[str]) -> list:
    """The same question without the comparison."""
    return [connection.execute(_FIND, (number,)).fetchone() for number in numbers]


def workbook(frame: pd.DataFrame) -> bytes:
    """A frame as .XLS, cell by cell."""
    book = xlwt.Workbook()
    page = book.add_sheet("Sheet1")
    for column, name in enumerate(frame.columns):
        page.write(0, column, name)
        for line, value in enumerate(frame[name], start=1):
            page.write(line, column, value)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def package(folder: Path, target: Path, stem: str) -> None:
    """Everything in a folder of unpacked files as a deflated zip."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, f"{stem}/{file.name}")


def login(remote) -> tuple[paramiko.SSHClient, paramiko.SFTPClient]:
    """A session as paramiko opens it by default."""
    client = paramiko.SSHClient()
    client.load_host_keys(str(remote.known_hosts))
    client.connect(remote.host, remote.port, remote.user, key_filename=str(remote.key))
    return client, client.open_sftp()


def form(path: Path, title: str, frame: pd.DataFrame) -> None:
    """A table to be printed and stamped (notice 附件二): a frame around each cell, the head on every page."""
    book = openpyxl.Workbook()
    page = book.active
    page.append([title])
    page.append(list(frame.columns))
    for line in frame.itertuples(index=False):
        page.append(list(line))
    edge, middle = Side(style="thin"), Alignment(horizontal="center", vertical="center")
    for line in page.iter_rows(min_row=2):
        for cell in line:
            cell.border = Border(left=edge, right=edge, top=edge, bottom=edge)
            cell.alignment = middle
    page.print_title_rows = "1:2"
    page.page_setup.orientation = "landscape"
    page.oddFooter.center.text = "第 &P 页/共 &N 页"
    book.save(path)


def forms(folder: Path, sent: dict[str, list[pd.Series]]) -> None:
    """申请表 and 统计汇总表 of each city."""
    for account, good in sent.items():
        frame = pd.DataFrame(good).sort_values(["PZRQ", "ZSGLH"])
        form(folder / f"{account}-申请表.xlsx", "申请表", frame)
        form(folder / f"{account}-统计汇总表.xlsx", "统计汇总表", frame.groupby(["PZRQ", "BKJB"]).size().reset_index())


def month(settings, remote, folder: Path, *, connection: psycopg.Connection) -> dict[str, list[pd.Series]]:
    """A whole month: fetch, unpack, check, look up, collect, pack, send; the rows it sent, by city.

    One script without a ledger; `folder` is its work folder, a table of its own keeps the states.
    """
    connection.autocommit = True
    connection.execute("DROP TABLE IF EXISTS usual_rows")
    columns = "management_no text PRIMARY KEY, state text, serial text, printed text"
    connection.execute(f"CREATE TABLE usual_rows ({columns})")
    ssh, sftp = login(remote)
    sftp.chdir(remote.root)
    sent: dict[str, list[pd.Series]] = {}
    photos = folder / "photos"
    photos.mkdir(parents=True)
    for account in sorted(sftp.listdir(".")):
        inbox = f"{account}/{settings.folders.inbox}"
        for name in sftp.listdir(inbox) if account.isdecimal() else ():
            sftp.get(f"{inbox}/{name}", str(folder / name))
            with zipfile.ZipFile(folder / name) as archive:
                archive.extractall(folder / account)
            [book] = (folder / account).glob("*.XLS")
            frame = sheet(book.read_bytes())
            wrong = rows(frame)
            differs = match(connection, frame)
            good = sent.setdefault(account, [])
            for at, one in frame.iterrows():
                place = folder / account / book.stem / one["ZP"]
                if not (wrong[at] or differs[at] or photo(place.read_bytes())):
                    good.append(one)
                    place.rename(photos / one["ZP"])
                    connection.execute("INSERT INTO usual_rows VALUES (%s, 'SENT', '', '')", (one["ZSGLH"],))
            (folder / f"{name}.txt").write_text(f"{len(frame)} rows, {len(good)} good\n")
            sftp.put(str(folder / f"{name}.txt"), f"{account}/{settings.folders.replies}/{name}.txt")
    good = [one for rows_of_city in sent.values() for one in rows_of_city]
    stem = f"202005-034-一级建造师(证书补换印制信息)数据(山东省)({len(good)}人)"
    for first in range(0, len(good), SHEET):
        number = f"-{first // SHEET + 1}" if first else ""
        (photos / f"{stem}{number}.XLS").write_bytes(workbook(pd.DataFrame(good[first : first + SHEET])))
    package(photos, folder / "package.zip", stem)
    sftp.put(str(folder / "package.zip"), f"{settings.folders.upward}/package.zip")
    ssh.close()
    return sent


def take_return(connection: psycopg.Connection, file: Path) -> int:
    """The authority's answers, one statement and one commit a row."""
    connection.autocommit = True
    with file.open(encoding="utf-8", newline="") as stream:
        lines = list(csv.DictReader(stream))
    for one in lines:
        state = "PRINTED" if one["结果"] == "已印制" else "REFUSED"
        connection.execute(
            "UPDATE usual_rows SET state = %s, serial = %s, printed = %s WHERE management_no = %s AND state = 'SENT'",
            (state, one["证书编号"], one["印制日期"], one["ZSGLH"]),
        )
    return len(lines)


def lists(folder: Path, file: Path, sent: dict[str, list[pd.Series]]) -> None:
    """What each city gets back: who was printed, and who was refused and why."""
    answers = pd.read_csv(file, dtype=str, keep_default_na=False)
    for account, good in sent.items():
        mine = answers[answers["ZSGLH"].isin({one["ZSGLH"] for one in good})]
        with pd.ExcelWriter(folder / f"{account}-上级返回结果.xlsx") as book:
            mine[mine["结果"] == "已印制"].to_excel(book, sheet_name="发放清单", index=False)
            mine[mine["结果"] != "已印制"].to_excel(book, sheet_name="退回单", index=False)
