"""The report in Chromium. Skipped, and said so, where no browser is installed."""

import pytest

from lookright.report import write_report

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def url(study_writer, tmp_path_factory):
    directory = tmp_path_factory.mktemp("browser")
    study_writer(directory, splits=("aligned", "conflicting"), seeds=(0, 1), count=12)
    return write_report(directory).as_uri()


@pytest.fixture
def page(browser, url):
    """The opened report; fails at the end on any message in the console and any request."""
    page = browser.new_page()
    messages, requests = [], []
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.set_default_timeout(120_000)  # a busy machine takes its time
    page.goto(url, wait_until="domcontentloaded")
    yield page
    page.close()
    assert messages == []
    assert [request for request in requests if not request.startswith("data:")] == [url]


def shown(page, attribute):
    """An attribute of each visible card, in the order on the page."""
    return page.eval_on_selector_all(
        ".card:not([hidden])", f"cards => cards.map(card => card.getAttribute('{attribute}'))"
    )


def alignments(page, method):
    found = page.eval_on_selector_all(
        f".card:not([hidden]) [data-method='{method}']", "all => all.map(picture => picture.dataset.alignment)"
    )
    return [float(value) for value in found]


def test_slider_moves_the_overlay(page):
    overlay = page.locator(".card:not([hidden]) .overlay").first
    opacity = "element => getComputedStyle(element).opacity"
    assert float(overlay.evaluate(opacity)) == pytest.approx(0.75)
    for value in (0, 40, 100):
        page.locator("#opacity").fill(str(value))
        assert float(overlay.evaluate(opacity)) == pytest.approx(value / 100)


def test_slider_changes_what_is_seen(page):
    picture = page.locator(".card:not([hidden]) .pictures figure:nth-child(2) svg").first
    page.locator("#outline").uncheck()
    page.locator("#opacity").fill("0")
    without = picture.screenshot()
    page.locator("#opacity").fill("100")
    assert picture.screenshot() != without


def test_sorting_sorts(page):
    page.locator("#count").select_option("")
    page.locator("#sort").select_option("worst:1")
    found = alignments(page, 1)
    assert found[-1] != found[-1]  # undefined comes last
    assert found[:-1] == sorted(found[:-1])
    page.locator("#sort").select_option("worst")
    worst = [min(pair) for pair in zip(alignments(page, 0), alignments(page, 1), strict=True)]
    assert worst[:-1] == sorted(worst[:-1])
    page.locator("#sort").select_option("gap")
    gaps = [float(gap) for gap in shown(page, "data-gap")]
    assert gaps[:-1] == sorted(gaps[:-1], reverse=True)
    page.locator("#sort").select_option("label")
    labels = shown(page, "data-label")
    assert labels == sorted(labels)
    page.locator("#sort").select_option("order")
    assert [int(order) for order in shown(page, "data-order")] == list(range(12))


def test_filter_filters(page):
    status = page.locator("#status")
    assert set(shown(page, "data-split")) == {"0-1"}  # conflicting pairs first
    assert status.inner_text() == "8 of 12 images shown"
    page.locator("#count").select_option("")
    assert len(shown(page, "data-split")) == 12
    page.locator("#filter").select_option("0-0")
    assert shown(page, "data-split") == ["0-0"] * 12
    page.locator("#filter").select_option("")
    assert len(shown(page, "data-split")) == 24
    assert status.inner_text() == "24 of 24 images shown"


def test_outline_can_be_taken_off(page):
    outline = page.locator(".card:not([hidden]) .outline").first
    assert outline.evaluate("element => getComputedStyle(element).display") != "none"
    page.locator("#outline").uncheck()
    assert outline.evaluate("element => getComputedStyle(element).display") == "none"


def test_splits_are_tabs(page):
    tabs, panels = page.get_by_role("tab"), page.locator(".split")
    assert tabs.all_inner_texts() == ["aligned", "conflicting"]
    assert not panels.nth(0).is_visible()
    assert panels.nth(1).is_visible()
    tabs.nth(1).press("ArrowLeft")
    assert panels.nth(0).is_visible()
    assert not panels.nth(1).is_visible()
    assert tabs.nth(0).get_attribute("aria-selected") == "true"


def test_paper_shows_every_split_and_no_controls(page):
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert all(panel.is_visible() for panel in page.locator(".split").all())
    assert not page.locator(".controls").is_visible()


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_nothing_sticks_out_at_any_width(page, width):
    page.set_viewport_size({"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("width", [320, 360, 412])
def test_the_first_table_is_whole_on_a_phone(page, width):
    page.set_viewport_size({"width": width, "height": 800})
    table = page.locator("#summary .scroll").first
    assert table.evaluate("element => element.scrollWidth <= element.clientWidth")
    cell = table.locator("td").first
    label = cell.evaluate("element => getComputedStyle(element, '::before').content")
    assert label == '"Accuracy ↑"'


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_light_and_dark(page, scheme):
    page.emulate_media(color_scheme=scheme)
    contrast = page.evaluate(
        """() => {
          const luminance = (colour) => {
            const [r, g, b] = colour.match(/[\\d.]+/g).map((part) => part / 255)
              .map((part) => (part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
          };
          const ground = luminance(getComputedStyle(document.body).backgroundColor);
          const of = (selector) => {
            const ink = luminance(getComputedStyle(document.querySelector(selector)).color);
            return (Math.max(ink, ground) + 0.05) / (Math.min(ink, ground) + 0.05);
          };
          return [".lead", ".facts", "a", ".interval", "figcaption"].map(of);
        }"""
    )
    assert min(contrast) >= 4.5


@pytest.mark.parametrize("of", ["a study", "a run"])
def test_nothing_keeps_anybody_out(browser, barriers, study_writer, tmp_path, of):
    methods = {"ERM": 0.6, "CAMAL": 0.7, "SAGE": 0.8}
    study_writer(tmp_path, methods=methods, splits=("conflicting",), open_set=True, count=2)
    directory = tmp_path if of == "a study" else tmp_path / "runs/shortcut/1/seed-0"
    page = browser.new_page()
    page.goto(write_report(directory).as_uri())
    assert barriers(page) == []
    page.close()


def test_on_paper_nothing_is_folded_or_cut(page):
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 700, "height": 1000})
    config = page.locator("details pre").last
    assert config.bounding_box()["height"] > 20
    cut = "all => all.filter(pre => pre.scrollWidth > pre.clientWidth).length"
    assert page.eval_on_selector_all("pre", cut) == 0


def test_without_a_script_everything_is_there(browser, url):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(url)
    assert all(card.is_visible() for card in page.locator(".card").all())
    assert all(panel.is_visible() for panel in page.locator(".split").all())
    context.close()
