"""An operator in front of the desk in a real Chromium, as far as there is one."""

import contextlib
import importlib.util
import shutil

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_browser = pytest.mark.skipif(
    CHROMIUM is None or importlib.util.find_spec("playwright") is None,
    reason="drives a browser: apt-get install chromium, pip install playwright",
)
SECONDS = 300_000
"""Longest wait for a run, in milliseconds."""


class Operator:
    """Somebody at the browser; counts what they press."""

    def __init__(self, page, url):
        from playwright.sync_api import expect

        self.page, self.url, self.clicks, self._expect = page, url, 0, expect

    def press(self, name, role="button"):
        self.page.get_by_role(role, name=name).first.click()
        self.clicks += 1

    def follow(self, name):
        self.press(name, "link")

    def open(self, path):
        """Type an address: for what is not the path that is counted."""
        return self.page.goto(f"{self.url}/desk{path}")

    def sees(self, words, limit=SECONDS):
        """Wait until the page says so."""
        self._expect(self.page.locator("main")).to_contain_text(words, timeout=limit)

    def ends(self, words):
        """Wait until a page that says how something stands says this."""
        self._expect(self.page.get_by_role("status")).to_contain_text(words, timeout=SECONDS)

    def log_in(self, pages):
        self.open("/")
        self.sees("请先登录", 10_000)
        self.follow("登录")
        self.page.fill("input[name=username]", pages.login)
        self.page.fill("input[name=password]", pages.password)
        self.page.keyboard.press("Enter")
        self.page.wait_for_url("**/desk/", timeout=60_000)


@contextlib.contextmanager
def operator_at(pages):
    """Somebody who has just logged in, with a browser of their own."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 800}, locale="zh-CN")
        operator = Operator(page, pages.url)
        operator.log_in(pages)
        yield operator
        browser.close()
