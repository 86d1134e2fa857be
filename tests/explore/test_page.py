"""The page in a browser without a window, where Chromium is installed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from opened import opened_of
from PIL import Image

from attnflow.explore.opened import Opened, Shelf
from attnflow.transforms import ITrans

pytest.importorskip("gradio", reason="the page needs gradio")
playwright = pytest.importorskip("playwright.sync_api", reason="the browser needs playwright")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
SECONDS = 20_000  # of patience, in milliseconds

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed"),
]


class OpenShelf(Shelf):
    """Models that need no file."""

    def __init__(self, *opened: Opened) -> None:
        super().__init__({each.name: Path(each.name) for each in opened}, opened[0].read_data)
        self._open = {each.name: each for each in opened}


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Where the page is served."""
    from attnflow.explore.page.serve import served

    before = os.environ.get("GRADIO_TEMP_DIR")
    attending = opened_of(name="attending", attention=ITrans, conditioning="class")
    with served(OpenShelf(attending, opened_of(name="plain")), "plain", "127.0.0.1", 0) as at:
        yield at
    os.environ.pop("GRADIO_TEMP_DIR")
    if before is not None:
        os.environ["GRADIO_TEMP_DIR"] = before


@pytest.fixture(scope="module")
def browser() -> Iterator:
    """Chromium."""
    with playwright.sync_playwright() as run:
        chromium = run.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium.new_context()  # which keeps the page's scripts from one test to the next
        chromium.close()


@pytest.fixture
def page(address, browser) -> Iterator:
    """The page, of a model with classes and attention; it may ask its own address alone."""
    opened = browser.new_page()
    opened.set_default_timeout(SECONDS)
    asked: list[str] = []
    opened.on("request", lambda request: asked.append(request.url))
    opened.goto(address)
    opened.wait_for_selector(".af-chips")
    yield opened
    opened.close()
    assert asked
    assert [url for url in asked if not url.startswith((address, "data:", "blob:"))] == []


def show(page, name: str) -> None:
    """Open a tab."""
    page.get_by_role("tab", name=name, exact=True).click()


def test_the_button_draws_samples(page) -> None:
    page.click("#sample-button")
    picture = page.wait_for_selector("#sample-picture img")
    page.wait_for_function("document.querySelector('#sample-picture img').naturalWidth > 0")
    assert picture.evaluate("image => image.naturalWidth") == 8 * 50 + 2


def test_another_model_takes_the_first_ones_samples_and_classes_away(page) -> None:
    page.click("#sample-button")
    page.wait_for_selector("#sample-picture img")
    page.get_by_label("model").click()
    page.get_by_role("option", name="plain").click()
    page.wait_for_selector("#sample-picture img", state="detached")
    page.wait_for_selector(".af-chips :text('attention none')")
    assert not page.get_by_label("class").first.is_visible()


def test_an_upload_that_is_no_image_is_told_in_a_sentence(page, tmp_path) -> None:
    (tmp_path / "words.png").write_text("words")
    show(page, "Bits/dim")
    page.set_input_files("#score-upload input[type=file]", tmp_path / "words.png")
    page.wait_for_selector("#score-upload :text('words')")
    page.click("#score-button")
    told = page.wait_for_selector("#score-said .af-error")
    expected = "upload: expected an image (PNG, JPEG, WebP, TIFF, ...), got words.png, which "
    assert told.inner_text() == f"{expected}cannot be read."


def test_an_upload_that_is_too_large_is_told_before_it_is_sent(page, tmp_path, address) -> None:
    with (tmp_path / "huge.png").open("wb") as file:
        file.truncate(200 * 2**20)
    show(page, "Bits/dim")
    page.on("request", lambda request: pytest.fail("sent") if "upload?" in request.url else None)
    page.set_input_files("#score-upload input[type=file]", tmp_path / "huge.png")
    told = page.wait_for_selector(".toast-body").inner_text()
    assert 'exceed the maximum allowed size of 10.0 Mb: "huge.png"' in told


def test_the_server_takes_no_more_than_that_either(address) -> None:
    content = b"--x\r\nContent-Disposition: form-data; name=files; filename=a.png\r\n\r\n"
    content += bytes(10 * 2**20 + 1) + b"\r\n--x--\r\n"
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    with pytest.raises(HTTPError, match="413"):
        urlopen(Request(f"{address}gradio_api/upload", content, kind))


def test_an_uploaded_image_is_scored_beside_the_test_images(page, tmp_path) -> None:
    Image.new("L", (30, 20), 99).save(tmp_path / "grey.png")
    show(page, "Bits/dim")
    page.set_input_files("#score-upload input[type=file]", tmp_path / "grey.png")
    page.wait_for_selector("#score-upload :text('grey')")
    page.click("#score-button")
    told = page.wait_for_selector("#score-said .af-error")
    assert told.inner_text() == "class: expected one from 0 to 2, got 'none chosen'."
    page.get_by_label("class").locator("visible=true").click()
    page.get_by_role("option", name="2", exact=True).click()
    page.click("#score-button")
    chart = page.wait_for_selector(".af-chart")
    assert "this image" in chart.inner_text()


def test_a_click_on_the_image_asks_the_token_there(page) -> None:
    show(page, "Attention")
    page.click("#attention-button")
    page.wait_for_selector("#attention-words :text('asks')")
    image = page.locator("#attention-image img")
    box = image.bounding_box()
    image.click(position={"x": 5, "y": box["height"] - 5})
    page.wait_for_selector("#attention-words :text('Token 1, 0 of 2 x 2')")


def test_two_models_are_beside_each_other(page) -> None:
    show(page, "Compare")
    page.click("#compare-button")
    page.wait_for_selector("#compare-first img")
    page.wait_for_selector("tr.differs :text('attention')")
    assert page.locator(".af-chart:visible rect.k1").count() > 0
