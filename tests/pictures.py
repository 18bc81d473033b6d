"""The pictures of docs/desk: ``python tests/pictures.py HOME``, where HOME is one in which `certflow demo run` ended.

Brings Airflow up on that home, breaks one city's intake, accepts one held row into a supplementary batch, and takes
every page as a Chromium shows it: on a desk's screen, a phone, and paper. Look at them before they are committed.
"""

import io
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image, ImageChops
from playwright.sync_api import Page, expect, sync_playwright
from real_airflow import Api

from certflow import stack
from certflow.demo.servers import addresses
from certflow.settings import Settings

MONTH, CITY, EXAM = "202005", "370100", "034"
TARGET = Path(__file__).parents[1] / "docs" / "desk"
DESK, PHONE = {"width": 1280, "height": 860}, {"width": 390, "height": 844}
LONG = 300_000
"""Longest wait for a run, in milliseconds."""


def save(name: str, png: bytes, width: int) -> None:
    """A picture small enough for a repository: 64 colours, at most `width` pixels wide, no empty foot."""
    with Image.open(io.BytesIO(png)) as picture:
        small = picture.convert("RGB")
        if small.width > width:
            small = small.resize((width, round(small.height * width / small.width)), Image.Resampling.LANCZOS)
        written = ImageChops.difference(small, Image.new("RGB", small.size, "white")).getbbox()
        if written is not None:  # no empty foot
            small = small.crop((0, 0, small.width, min(small.height, written[3] + 16)))
        small.quantize(64, dither=Image.Dither.NONE).save(TARGET / f"{name}.png", optimize=True)


class Camera:
    """Somebody at the browser who takes pictures of what they see."""

    def __init__(self, page: Page, url: str) -> None:
        self.page, self.url = page, f"{url}/desk"

    def open(self, path: str) -> None:
        answer = self.page.goto(self.url + path)
        assert answer is not None, path
        assert answer.status == 200, (path, answer.status)

    def desk(self, name: str, path: str = "", *, most: int = 1400) -> None:
        """The page as wide as a desk's screen, down to `most` pixels."""
        if path:
            self.open(path)
        height = min(most, int(self.page.evaluate("document.documentElement.scrollHeight")))
        save(name, self.page.screenshot(clip={"x": 0, "y": 0, "width": 1280, "height": height}, full_page=True), 1280)

    def phone(self, name: str, path: str) -> None:
        self.page.set_viewport_size(PHONE)
        self.open(path)
        save(f"{name}-phone", self.page.screenshot(), 390)
        self.page.set_viewport_size(DESK)

    def paper(self, name: str, path: str) -> None:
        """The first printed page."""
        self.open(path)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "page.pdf"
            file.write_bytes(self.page.pdf(format="A4", print_background=True))
            subprocess.run(
                ["pdftoppm", "-png", "-r", "80", "-f", "1", "-l", "1", "-singlefile", file, file], check=True
            )
            save(f"{name}-paper", Path(f"{file}.png").read_bytes(), 700)

    def press(self, name: str, role: str = "button") -> None:
        self.page.get_by_role(role, name=name).first.click()  # type: ignore[arg-type]

    def ends(self, words: str) -> None:
        expect(self.page.get_by_role("status")).to_contain_text(words, timeout=LONG)


def take(camera: Camera, settings: Settings) -> None:
    """Every page, in the order of a month."""
    camera.desk("board", f"/?month={MONTH}")
    camera.phone("board", f"/?month={MONTH}")
    inbox = addresses(settings.home)[0].tree / CITY / settings.folders.inbox
    aside = inbox.with_name("away")
    inbox.rename(aside)
    camera.open(f"/cities/{CITY}/{MONTH}")
    camera.press("现在收取该市的文件")
    camera.ends("✗ 失败")
    aside.rename(inbox)
    camera.desk("run")
    camera.desk("failure", "/failures")
    camera.desk("holds", f"/holds?month={MONTH}", most=900)
    camera.phone("holds", f"/holds?month={MONTH}")
    doubted = camera.page.locator("tr", has_text="DB-NAME-VARIANT")
    record = doubted.locator("a[href*='/holds/']").first.get_attribute("href")
    assert record is not None
    path = record.partition("/desk")[2]
    camera.desk("hold", path)
    camera.phone("hold", path)
    camera.page.get_by_label("理由").fill("与登记表一致")
    camera.page.get_by_role("radio", name="接收").check()
    camera.press("确定，看下一项")
    camera.open(f"/?month={MONTH}")
    camera.press("组补报批次")
    camera.ends("✓ 完成")
    camera.desk("packed")
    camera.press("看这一批数据包", "link")
    camera.desk("approval")
    approval = camera.page.url.partition("/desk")[2]
    known = camera.page.locator("main a[href*='/trace?number']").first.get_attribute("href")
    assert known is not None
    camera.paper("approval", approval)
    camera.desk("city", f"/cities/{CITY}/{MONTH}")
    camera.phone("city", f"/cities/{CITY}/{MONTH}")
    camera.paper("city", f"/cities/{CITY}/{MONTH}")
    camera.desk("year", f"/cities/{CITY}/{MONTH[:4]}")
    camera.desk("exam", f"/exams/{EXAM}/{MONTH}")
    camera.desk("quality", "/quality", most=1000)
    rule = camera.page.locator("main a[href*='/quality/DB-']").first.get_attribute("href")
    assert rule is not None
    camera.desk("rule", rule.partition("/desk")[2], most=1000)
    camera.desk("returns", "/returns", most=900)
    number = camera.page.locator("main a[href*='/returns/']").first.get_attribute("href")
    assert number is not None
    camera.desk("return", number.partition("/desk")[2])
    camera.desk("trial", "/trial")
    camera.desk("proofs", "/proofs", most=900)
    camera.desk("deliveries", "/deliveries", most=900)
    camera.desk("story", known.partition("/desk")[2])


def main(home: Path) -> None:
    os.environ["CERTFLOW_HOME"] = str(home.resolve())
    os.environ["CERTFLOW_APPROVAL"] = "always"
    settings = Settings.load()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    try:
        pages = stack.up(settings)
        Api(pages)("PATCH", "/api/v2/dags/month_end_prepare", {"is_paused": False})
        Api(pages)("PATCH", "/api/v2/dags/submission_intake", {"is_paused": False})
        with sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            page = browser.new_page(viewport=DESK, locale="zh-CN", timezone_id="Asia/Shanghai")  # type: ignore[arg-type]
            page.goto(f"{pages.url}/desk/")
            page.get_by_role("link", name="登录").first.click()
            page.fill("input[name=username]", pages.login)
            page.fill("input[name=password]", pages.password)
            page.keyboard.press("Enter")
            page.wait_for_url("**/desk/", timeout=60_000)
            take(Camera(page, pages.url), settings)
            browser.close()
    finally:
        stack.down(settings)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
