"""The page in a browser: a picture in, the answer out, and what is said of a file that is no picture."""

import shutil

import pytest
from PIL import Image
from planted import GREEN, RED, planted, red_and_green

pytest.importorskip("fastapi", reason="the service needs the extra [serve]")

from running_service import running

from paddle_alexnet.runs.checkpoint import save_checkpoint
from paddle_alexnet.service.limits import Limits
from paddle_alexnet.service.samples import Sample
from paddle_alexnet.service.served_model import open_served

pytestmark = pytest.mark.usefixtures("tiny_preset")  # a preset `tiny`

READY = "!asking && !document.getElementById('answer').hidden"
LABELS = "return [...document.querySelectorAll('#top b')].map(b => b.textContent)"
ERROR = "document.getElementById('error')"
# The colors of the overlay where the red and where the green square lie.
COLORS = """
const canvas = document.createElement('canvas'), image = document.getElementById('overlay');
canvas.width = canvas.height = 99;
const context = canvas.getContext('2d', {willReadFrequently: true});
context.drawImage(image, 0, 0, 99, 99);
const spread = (x, y) => {
  const color = [...context.getImageData(x, y, 1, 1).data.slice(0, 3)];
  return Math.max(...color) - Math.min(...color);
};
return [spread(22, 20), spread(70, 74)];
"""
# The sample, brought as a person brings a file from elsewhere.
BROUGHT = """
return fetch('samples/0.jpg').then(answer => answer.blob()).then(blob => {
  const data = new DataTransfer();
  data.items.add(new File([blob], 'brought.jpg'));
  document.dispatchEvent(EVENT);
});
"""
EVENTS = ("new DragEvent('drop', {dataTransfer: data})", "new ClipboardEvent('paste', {clipboardData: data})")


# What a screen reader goes by: the levels of the headings in their order, and the elements that are read aloud.
HEADINGS = "return [...document.querySelectorAll('h1, h2, h3, h4')].map(h => Number(h.tagName[1]))"
LIVE = "return [...document.querySelectorAll('[aria-live]')].map(e => e.innerText)"
CARDS = "return [...document.querySelectorAll('#several button')].map(b => [b.innerText.split('\\n'), b.disabled])"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    Image.fromarray(planted({RED: (6, 8), GREEN: (60, 56)})).save(folder / "both.png")
    Image.fromarray(planted({GREEN: (40, 40)})).save(folder / "green.png")
    (folder / "words.png").write_text("no picture")
    (folder / "large.png").write_bytes(bytes(2_000_000))
    return folder


@pytest.fixture(scope="module")
def service(pictures, tmp_path_factory):
    place = tmp_path_factory.mktemp("served") / "checkpoint"
    save_checkpoint(place, *red_and_green())
    sample = Sample("green", (pictures / "green.png").read_bytes())
    with running(open_served(place, device="cpu"), Limits(megabytes=1), [sample]) as found:
        yield found


def test_page_answers_an_image_and_shows_its_explanation(service, pictures, browser):
    browser.open(service.address, width=1200)
    browser.choose_file("#file", pictures / "both.png")
    browser.wait(READY)
    assert sorted(browser.run(LABELS)) == ["class 0", "class 1"]
    assert browser.run("return document.querySelectorAll('#layers img').length") == 5 * 8
    for label, where in (("class 0", 0), ("class 1", 1)):
        browser.press(str(1 + browser.run(LABELS).index(label)))
        browser.wait(f"{READY} && document.getElementById('about').textContent.includes('{label}')")
        browser.wait("document.getElementById('overlay').complete")
        spread = browser.run(COLORS)
        assert spread[where] > 60 > 25 > spread[1 - where]
    assert browser.console() == []

    browser.choose_file("#file", pictures / "words.png")
    browser.wait(f"!asking && !{ERROR}.hidden")
    assert "not an image" in browser.run(f"return {ERROR}.textContent")
    assert browser.run(LABELS) == [] and browser.run("return document.querySelectorAll('#layers img').length") == 0
    assert (
        browser.run("return ['image', 'overlay', 'answer'].map(id => document.getElementById(id).hidden)") == [True] * 3
    )
    browser.choose_file("#file", pictures / "both.png")
    browser.wait(READY)
    browser.choose_file("#file", pictures / "large.png")
    browser.wait(f"{ERROR}.textContent.includes('limit is 1 MB')")
    assert browser.run(LABELS) == []
    browser.console()  # of the refusal, which the browser notes

    browser.run("document.querySelector('.sample').click()")
    browser.wait(f"{READY} && {ERROR}.hidden")
    assert browser.run(LABELS)[0] == "class 1"
    assert browser.console() == []

    for event in EVENTS:
        browser.run("document.getElementById('top').replaceChildren()")
        browser.run(BROUGHT.replace("EVENT", event))
        browser.wait(f"{READY} && document.getElementById('top').children.length")
        assert browser.run(LABELS)[0] == "class 1"

    for width, dark in ((360, True), (360, False)):
        browser.open(service.address, width=width, dark=dark)
        browser.run("document.querySelector('.sample').click()")
        browser.wait(READY)
        assert browser.run("return document.documentElement.scrollWidth <= window.innerWidth")
        paper = browser.run("return getComputedStyle(document.body).backgroundColor")
        assert paper == ("rgb(13, 17, 23)" if dark else "rgb(255, 255, 255)")

    browser.devtools("Network.enable", {})
    network = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    browser.devtools("Network.emulateNetworkConditions", {**network, "offline": True})
    try:
        browser.choose_file("#file", pictures / "green.png")
        browser.wait(f"{ERROR}.textContent.includes('does not respond')")
    finally:  # the browser is that of other tests, too
        browser.devtools("Network.emulateNetworkConditions", {**network, "offline": False})
        browser.console()


def test_several_images_are_listed_in_order_each_with_its_answer_or_reason(service, pictures, browser):
    browser.open(service.address, width=1200)
    names = ["green.png", "words.png", "large.png", *(f"{n}.png" for n in range(3, 43))]  # more than a request may have
    for name in names[3:]:
        shutil.copy(pictures / "both.png", pictures / name)
    browser.choose_file("#file", *(pictures / name for name in names))
    browser.wait("!asking && document.querySelectorAll('#several button').length")
    cards = browser.run(CARDS)
    assert [text[0] for text, _ in cards] == names
    assert cards[0][0][1] == "class 1" and not cards[0][1]
    assert "not an image" in cards[1][0][1] and cards[1][1]
    assert "limit is 1 MB" in cards[2][0][1] and cards[2][1]
    assert all(len(text) == 3 and not disabled for text, disabled in cards[3:])
    assert "41 of 43 images have a prediction" in browser.run(LIVE)[0]
    browser.run("document.querySelector('#several button').click()")
    browser.wait(READY)
    assert browser.run(LABELS)[0] == "class 1" and len(browser.run(CARDS)) == 43
    browser.choose_file("#file", pictures / "words.png", pictures / "words.png")  # of which none can be read
    browser.wait("!asking && document.querySelectorAll('#several em').length === 2")
    assert browser.run(LABELS) == []
    browser.choose_file("#file", pictures / "green.png")
    browser.wait(READY)
    assert browser.run(CARDS) == []
    browser.console()


def test_a_screen_reader_gets_the_answer_alone_and_headings_in_order(service, pictures, browser):
    browser.open(service.address, width=1200)
    browser.run("""
        window.busy = [];
        const live = document.querySelector('[aria-live]');
        new MutationObserver(() => busy.push(live.getAttribute('aria-busy'))).observe(live, {attributes: true});
    """)
    browser.choose_file("#file", pictures / "both.png")
    browser.wait(READY)
    (text,) = browser.run(LIVE)
    assert "class 0" in text and "conv1" not in text
    assert browser.run("return busy") == ["true", "false"]
    assert browser.run("return document.querySelectorAll('[aria-live] img').length") == 0
    for page in ("", "docs"):
        if page:
            browser.open(service.address + page, width=360)
        levels = browser.run(HEADINGS)
        assert levels.count(1) == 1 and levels[0] == 1
        assert all(after <= before + 1 for before, after in zip(levels, levels[1:])), levels
    assert browser.run("return document.documentElement.scrollWidth <= window.innerWidth")
    assert f"{service.address}predict" in browser.run("return document.body.innerText")
    assert browser.console() == []
