"""The HTML pages of predict and eval: self-contained, escaped, and alive in a browser."""

import json
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
from drawn_videos import write_drawn_video
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait
from toy_model import LABELS, write_toy_checkpoint

from dfercli.artifacts.face_store import FailureRow
from dfercli.artifacts.predictions import WindowPrediction
from dfercli.cli.app import run
from dfercli.metrics.rates import evaluate
from dfercli.report.card import LIMITS
from dfercli.report.evaluation_page import Mistake, write_evaluation_page
from dfercli.report.pages import clock
from dfercli.report.prediction_page import PageVideo, video_section, write_prediction_page
from dfercli.report.video_prediction import VideoPrediction

HOSTILE = "</script><script>alert('no')</script>"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return write_toy_checkpoint(tmp_path_factory.mktemp("model") / "checkpoint")


@pytest.fixture(scope="module")
def page(checkpoint, tmp_path_factory):
    """The page of one video: a face, nobody for a second, a face again (another track)."""
    folder = tmp_path_factory.mktemp("page")
    video = write_drawn_video(folder / "face.mp4", seconds=5, gap=(2.0, 3.0))
    arguments = ["--checkpoint", checkpoint, "--workers", 0, "--detector", "haar", "--window", 1]
    arguments += ["--html", folder / "report.html", "--quiet"]
    assert run(["predict", str(video), *map(str, arguments)]) == 0
    return folder / "report.html"


@pytest.fixture(scope="module")
def browser():
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("chromium and chromedriver are not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1100,900"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options=options, service=Service(driver))
    yield browser
    browser.quit()


class _Addresses(HTMLParser):
    """Everything that a page would fetch."""

    def __init__(self, html):
        super().__init__()
        self.found = []
        self.scripts = 0
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.scripts += tag == "script"
        self.found += [value for name, value in attributes if name in ("src", "href")]


def prediction(label_set, track, start, end, *probabilities):
    best = int(np.argmax(probabilities))
    return WindowPrediction(
        "a", track, start, end, label_set[best], probabilities[best], False, probabilities, (0,) * 4
    )


def test_nothing_in_a_page_is_fetched_from_elsewhere(page):
    html = page.read_text()
    for address in _Addresses(html).found:
        assert address.startswith(("data:", "#")), address[:80]
    assert "@import" not in html
    assert "url(" not in html


def test_a_page_holds_the_moments_the_settings_the_card_and_the_limits(page):
    html = page.read_text()
    assert html.count("data:image/jpeg") >= 1
    for words in ("Strongest moments", "No face at all: 0:0", "dfer-clip", "haar", "Model card"):
        assert words in html
    for paragraph in LIMITS:
        assert paragraph[:60] in html


def test_names_of_files_and_classes_cannot_run_code(checkpoint, tmp_path):
    from dfercli.inference.info import read_model_card

    _, card = read_model_card(checkpoint)
    labels = (HOSTILE, "calm")
    video = VideoPrediction(
        HOSTILE,
        labels,
        (prediction(labels, 0, 0.0, 2.0, 0.7, 0.3),),
        failure=FailureRow(HOSTILE, "predict", HOSTILE),
    )
    write_prediction_page(
        tmp_path / "a.html",
        [video_section(PageVideo(video, 2.0, None, HOSTILE), min_confidence=0.9)],
        label_set=labels,
        card=card,
        model_name=HOSTILE,
        settings=[("window", HOSTILE)],
    )
    html = (tmp_path / "a.html").read_text()
    assert HOSTILE not in html
    assert _Addresses(html).scripts == 2  # the page's own, and the data of one timeline
    assert "(uncertain)" in html


def test_the_video_is_embedded_up_to_a_size_and_linked_beyond(
    page, checkpoint, tmp_path, monkeypatch
):
    assert "data:video/mp4;base64," in page.read_text()
    video = page.parent / "face.mp4"
    monkeypatch.setenv("DFER_OFFLINE", "1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    arguments = ["--checkpoint", checkpoint, "--workers", 0, "--detector", "auto"]
    arguments += ["--html", tmp_path / "b.html", "--embed-mb", 0, "--quiet"]
    assert run(["predict", str(video), *map(str, arguments)]) == 0
    html = (tmp_path / "b.html").read_text()
    assert re.search(r"face detector</dt>\s*<dd>haar<", html)  # which one it was, not `auto`
    assert "data:video" not in html
    (link,) = re.findall(r'<video[^>]* src="([^"]+)"', html)
    assert (tmp_path / link).resolve() == video.resolve()


def test_the_page_of_an_evaluation_shows_mistakes_and_published_numbers(checkpoint, tmp_path):
    from dfercli.inference.info import read_model_card

    _, card = read_model_card(checkpoint)
    targets = np.arange(30) % 3
    probabilities = np.full((30, 3), 0.1)
    probabilities[np.arange(30), targets] = 0.8
    probabilities[0] = (0.1, 0.8, 0.1)
    write_evaluation_page(
        tmp_path / "report.html",
        evaluate(probabilities, targets, LABELS),
        benchmark="dfew",
        measured_on="test clips of dfew fold 1",
        checkpoint="runs/x",
        selected_on="validation WAR",
        class_texts=("a", "b", "c"),
        mistakes=[Mistake("clip-1", LABELS[0], LABELS[1], 0.8, b"")],
        card=card,
    )
    html = (tmp_path / "report.html").read_text()
    for words in (
        "96.67 %",
        "clip-1",
        "DFER-CLIP 2023",
        "71.25",
        "this checkpoint",
        "best-on-test",
    ):
        assert words in html
    for address in _Addresses(html).found:
        assert address.startswith(("data:", "#"))


def test_long_times_have_hours():
    assert [clock(0), clock(59.96), clock(3661.5)] == ["0:00.0", "1:00.0", "1:01:01.5"]


@pytest.mark.browser
def test_a_timeline_is_drawn_and_a_click_seeks_the_video(page, browser):
    browser.get(page.as_uri())
    video = browser.find_element(By.TAG_NAME, "video")
    WebDriverWait(browser, 20).until(lambda _: video.get_property("readyState") >= 1)
    lane = browser.find_element(By.CSS_SELECTOR, ".lane")
    paths = lane.find_elements(By.CSS_SELECTOR, "svg path")
    assert len(paths) == len(LABELS)
    drawn = max(path.rect["width"] for path in paths) / lane.rect["width"]
    assert drawn == pytest.approx(0.4, abs=0.05)  # two seconds of five
    lane.click()  # in the middle: nobody
    length = float(lane.get_attribute("aria-valuemax"))
    WebDriverWait(browser, 20).until(lambda _: video.get_property("currentTime") > 0)
    assert video.get_property("currentTime") == pytest.approx(length / 2, abs=0.1)
    assert "not seen" in lane.get_attribute("aria-valuetext")
    lane.send_keys(Keys.HOME)
    lane.send_keys(Keys.ARROW_RIGHT)
    assert float(lane.get_attribute("aria-valuenow")) == pytest.approx(0.5)
    assert any(label in lane.get_attribute("aria-valuetext") for label in LABELS)
    button = browser.find_elements(By.CSS_SELECTOR, "td button.time")[-1]
    button.click()
    expected = float(button.get_attribute("data-seconds"))
    WebDriverWait(browser, 20).until(
        lambda _: abs(video.get_property("currentTime") - expected) < 0.1
    )
    assert browser.get_log("browser") == []


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_fits_a_phone_and_can_be_read_in_light_and_dark(page, browser, scheme):
    phone = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    browser.get(page.as_uri())
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
    style = "return getComputedStyle(document.body)"
    ink, paper = (
        _luminance(browser.execute_script(f"{style}.{name}"))
        for name in ("color", "backgroundColor")
    )
    assert (max(ink, paper) + 0.05) / (min(ink, paper) + 0.05) > 7  # WCAG AAA
    assert (paper < ink) == (scheme == "dark")


def _luminance(colour):
    channels = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


def test_the_data_of_a_timeline_is_what_was_predicted(page):
    courses = re.findall(r'<script type="application/json">(.*?)</script>', page.read_text())
    values = json.loads(courses[0])
    assert len(courses) == 2
    assert values["edges"][0] == 0
    assert values["edges"][-1] == pytest.approx(2, abs=0.1)
    assert values["labels"] == list(LABELS)
    assert len(values["edges"]) == len(values["rows"]) + 1
    assert all(sum(row) == pytest.approx(1, abs=0.01) for row in values["rows"])
