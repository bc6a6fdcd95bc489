"""The page in Chromium, as a person uses it. Skipped, and said so, where no browser is installed."""

import multiprocessing
import os
import signal
import threading

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lookright.data.samples import read_samples
from lookright.data.table import read_table
from lookright.studio.change import change
from lookright.studio.server import server_of

pytestmark = pytest.mark.browser

IMAGES = 200


class Window:
    """A page and what a person does on it."""

    def __init__(self, browser, address):
        self.page = browser.new_page(viewport={"width": 1100, "height": 760})
        self.page.set_default_timeout(120_000)  # a busy machine takes its time
        self.messages, self.requests = [], []
        self.page.on("pageerror", lambda error: self.messages.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(address)
        self.page.locator(".tile").first.wait_for()

    def open(self, number, image=None):
        self.page.locator("#grid").focus()
        self.page.keyboard.press("Home")
        for _ in range(number):
            self.page.keyboard.press("ArrowRight")
        self.page.keyboard.press("Enter")
        self.shown(image or f"images/{number}.png")

    def shown(self, image):
        self.page.locator(f"#stage[data-image='{image}']").wait_for()

    def at(self, x, y):
        """Where a pixel of the image is on the screen, the image being fit to the stage."""
        box = self.page.locator("#stage").bounding_box()
        side = 0.96 * min(box["width"], box["height"])
        left, top = box["x"] + (box["width"] - side) / 2, box["y"] + (box["height"] - side) / 2
        return left + x / 32 * side, top + y / 32 * side

    def press(self, *points):
        self.page.mouse.move(*self.at(*points[0]))
        self.page.mouse.down()
        for point in points[1:]:
            self.page.mouse.move(*self.at(*point), steps=3)

    def drag(self, *points):
        self.press(*points)
        self.page.mouse.up()

    def saved(self, text="Saved"):
        self.page.locator("#saved", has_text=text).wait_for()
        return self.page.locator("#saved").inner_text()


@pytest.fixture
def many(tmp_path):
    """Images of noise, none of which has a mask."""
    folder = tmp_path / "many"
    (folder / "images").mkdir(parents=True)
    random = np.random.default_rng(0)
    for number in range(IMAGES):
        Image.fromarray(random.integers(0, 255, (32, 32, 3), dtype=np.uint8)).save(folder / f"images/{number}.png")
    names = [f"images/{number}.png" for number in range(IMAGES)]
    labels = [("cat", "dog")[number % 2] for number in range(IMAGES)]
    pd.DataFrame({"image": names, "label": labels, "split": "train"}).to_csv(folder / "labels.csv", index=False)
    return folder


@pytest.fixture
def served(many):
    """The address of a page, and the process that serves it."""
    server, _, address = server_of(many)
    process = multiprocessing.get_context("fork").Process(target=server.serve_forever)
    process.start()
    server.server_close()
    yield address, process
    if process.is_alive():
        os.kill(process.pid, signal.SIGKILL)
    process.join()


@pytest.fixture
def windows(browser, served):
    """Opens windows; fails at the end where one had an error or asked anybody else for anything."""
    opened = []

    def open_window():
        opened.append(Window(browser, served[0]))
        return opened[-1]

    yield open_window
    for window in opened:
        window.page.close()
        assert window.messages == []
        assert [url for url in window.requests if not url.startswith((served[0], "data:", "blob:"))] == []


def masks(folder):
    """What a training gets, by image."""
    table = read_table(folder)
    _, samples, _ = read_samples(folder, table, cache=0.0)
    return {image: samples[row].mask for row, image in enumerate(table["image"]) if samples[row].mask is not None}


def test_a_person_draws_masks_where_there_are_none(windows, many):
    window = windows()
    assert "200 of 200 images · 0 with a mask" in window.page.locator("#status").inner_text()
    assert window.page.locator(".tile").count() < 100  # only those in sight exist
    window.open(3)
    window.page.keyboard.press("r")
    window.drag((4, 4), (12, 20))
    assert window.saved() == "Saved: 12.5 % is evidence"
    window.page.keyboard.press("d")
    window.shown("images/4.png")
    window.page.keyboard.press("p")
    for corner in ((2, 2), (30, 2), (30, 30)):
        window.page.mouse.click(*window.at(*corner))
    window.page.keyboard.press("Enter")
    window.saved()
    window.page.keyboard.press("b")
    window.page.keyboard.press("i")
    window.drag((4, 28), (8, 28))
    window.page.locator("#saved", has_text="Saving").wait_for(state="detached")
    window.page.keyboard.press("w")
    window.shown("images/5.png")
    window.page.keyboard.press("0")
    assert window.saved() == "Saved: 0.0 % is evidence"
    window.page.keyboard.press("d")
    window.shown("images/6.png")
    window.drag((4, 28), (8, 28))
    window.saved()
    window.page.keyboard.press("z")
    window.saved("No mask")
    found = masks(many)
    assert list(found) == ["images/3.png", "images/4.png", "images/5.png"]
    box = np.zeros((32, 32))
    box[4:20, 4:12] = 255
    assert np.array_equal(found["images/3.png"][0].numpy(), box)
    assert found["images/4.png"][0, 6, 25]
    assert found["images/4.png"][1, 28, 6]
    assert not found["images/5.png"].any()


def test_it_goes_on_where_it_was_and_finds_by_words(windows):
    window = windows()
    window.open(7)
    again = windows()
    current = again.page.locator(".tile.current")
    assert current.get_attribute("title") == "images/7.png"
    again.page.locator("#filter").fill("label:dog -1 mask:no")
    status = again.page.locator("#status").inner_text()
    dogs = [number for number in range(IMAGES) if number % 2 and "1" not in str(number)]
    assert status.startswith(f"{len(dogs)} of 200 images")


def test_of_two_windows_the_second_is_told_and_nothing_is_lost(windows, many):
    first, second = windows(), windows()
    for window in (first, second):
        window.open(10)
        window.page.keyboard.press("r")
    first.drag((0, 0), (8, 8))
    first.saved()
    second.drag((16, 16), (24, 24))
    second.page.locator("#message", has_text="another window").wait_for()
    evidence = masks(many)["images/10.png"][0].numpy()
    assert evidence[:8, :8].all()
    assert evidence.sum() == 64 * 255
    second.page.keyboard.press("f")  # the sentence takes a part of the stage
    second.drag((16, 16), (24, 24))
    assert second.saved() == "Saved: 12.5 % is evidence"


def test_a_server_that_is_killed_in_the_middle_of_a_stroke_costs_that_stroke_at_most(windows, many, served):
    window = windows()
    window.open(20)
    window.page.keyboard.press("r")
    window.drag((0, 0), (8, 8))
    window.saved()
    window.page.keyboard.press("b")
    window.press((4, 20), (12, 24))
    os.kill(served[1].pid, signal.SIGKILL)
    served[1].join()
    window.page.mouse.up()
    window.page.locator("#message", has_text="does not answer").wait_for()
    window.saved("Not saved")
    evidence = masks(many)["images/20.png"][0].numpy()
    assert evidence[:8, :8].all()
    assert evidence.sum() == 64 * 255


@pytest.fixture
def taught(tmp_path, write_bare, trained, training_here):
    """The address of a page with a run, served by a thread of this process, and its application."""
    server, studio, address = server_of(write_bare(tmp_path / "bare", images=IMAGES), runs=[trained.directory])
    studio.start()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield address, studio
    server.shutdown()
    thread.join()
    server.server_close()
    studio.stop()


def test_twenty_masks_are_drawn_and_trained_on_and_the_page_shows_the_change(browser, taught):
    address, studio = taught
    window = Window(browser, address)
    assert "200 of 200 images · 0 with a mask" in window.page.locator("#status").inner_text()
    for first, number in ((0, 14), (150, 6)):  # to train on, and held out
        window.page.locator("#filter").fill(f"split:{'test' if first else 'train'}")
        window.open(0, f"images/{first}.png")
        window.page.keyboard.press("r")
        for image in (f"images/{first + place}.png" for place in range(number)):
            window.shown(image)
            square = studio.folder.sample(image).image.numpy().max(0) == 255
            (top, left), (bottom, right) = np.argwhere(square).min(0), np.argwhere(square).max(0) + 1
            window.drag((left, top), (right, bottom))
            assert window.saved() == "Saved: 9.8 % is evidence"
            window.page.keyboard.press("w")
        window.page.keyboard.press("Escape")
    window.page.keyboard.press("t")
    window.page.locator("#training", has_text="Done.").wait_for()
    window.page.locator("#change th", has_text="right, of 50 images").wait_for()
    window.page.locator("#change .pairs img").last.wait_for()
    found = change(*studio.runs)
    assert found["with_mask"] == 6
    table = window.page.locator("#change table")
    heads = [table.locator("tbody th").nth(row).inner_text() for row in range(2)]
    assert heads == ["right, of 50 images", "attention in the mask, of 6 images"]
    for row, measured in enumerate((found["accuracy"], found["alignment"])):
        cells = table.locator("tbody tr").nth(row).locator("td").all_inner_texts()
        before, after = measured["means"]
        assert cells[:2] == [f"{100 * before:.0f} %", f"{100 * after:.0f} %"]
        assert cells[2].lstrip("+−±").startswith(f"{abs(100 * (after - before)):.1f} points")
        assert cells[2][0] == ("+" if after > before else "−" if after < before else "±")
    assert window.page.locator(".pairs li").count() == len(found["moved"]) == 6
    window.page.locator(".pairs button").first.click()
    window.shown(found["moved"][0]["image"])
    window.page.close()
    assert window.messages == []


@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_sticks_out(windows, width):
    page = windows().page
    page.set_viewport_size({"width": width, "height": 780})
    for view in ("images", "findings", "train"):
        page.locator(f"[data-view={view}]").click()
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_axe_finds_no_barrier(windows, barriers):
    window = windows()
    for view in ("findings", "train", "images"):
        window.page.locator(f"[data-view={view}]").click()
        assert barriers(window.page) == []
    window.open(1)
    assert barriers(window.page) == []


def test_keys_reach_every_button_and_a_click_does_not_take_them(windows):
    window = windows()
    window.open(1)
    page = window.page
    page.get_by_role("button", name="Polygon").click()
    for corner in ((2, 2), (30, 2), (30, 30)):
        page.mouse.click(*window.at(*corner))
    page.keyboard.press("Enter")  # closes the polygon, and does not press the button again
    window.saved()
    page.get_by_role("button", name="Undo").focus()
    page.keyboard.press("Enter")
    window.saved("No mask")
    page.get_by_role("button", name="Next image").focus()
    page.keyboard.press("Space")
    window.shown("images/2.png")
    page.keyboard.press("Escape")
    assert page.locator("#grid").get_attribute("aria-activedescendant") == page.locator(".tile.current").get_attribute(
        "id"
    )
    assert page.locator(".tile.current").get_attribute("title") == "images/2.png"
