"""The page in a browser: a picture in, the answer out, and what is said of a file that is no picture."""

import pytest
from PIL import Image
from planted import GREEN, RED, planted, red_and_green
from tiny import tiny_preset  # noqa: F401

pytest.importorskip("fastapi", reason="the service needs the extra [serve]")

from running_service import running

from paddle_alexnet.runs.checkpoint import save_checkpoint
from paddle_alexnet.service.limits import Limits
from paddle_alexnet.service.samples import Sample
from paddle_alexnet.service.served import open_served

READY = "!asking && !document.getElementById('answer').hidden"
LABELS = "return [...document.querySelectorAll('#top b')].map(b => b.textContent)"
ERROR = "document.getElementById('error')"
# The colours of the overlay where the red and where the green square lie.
COLOURS = """
const canvas = document.createElement('canvas'), image = document.getElementById('overlay');
canvas.width = canvas.height = 99;
const context = canvas.getContext('2d', {willReadFrequently: true});
context.drawImage(image, 0, 0, 99, 99);
const spread = (x, y) => {
  const colour = [...context.getImageData(x, y, 1, 1).data.slice(0, 3)];
  return Math.max(...colour) - Math.min(...colour);
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


def test_it_answers_a_picture_and_shows_what_speaks_for_a_class(service, pictures, browser):
    browser.open(service.address, width=1200)
    browser.choose_file("#file", pictures / "both.png")
    browser.wait(READY)
    assert sorted(browser.run(LABELS)) == ["class 0", "class 1"]
    assert browser.run("return document.querySelectorAll('#layers img').length") == 5 * 8
    for label, where in (("class 0", 0), ("class 1", 1)):
        browser.press(str(1 + browser.run(LABELS).index(label)))
        browser.wait(f"{READY} && document.getElementById('about').textContent.includes('{label}')")
        browser.wait("document.getElementById('overlay').complete")
        spread = browser.run(COLOURS)
        assert spread[where] > 60 > 25 > spread[1 - where]
    assert browser.console() == []

    browser.choose_file("#file", pictures / "words.png")
    browser.wait(f"!asking && !{ERROR}.hidden")
    assert "not an image" in browser.run(f"return {ERROR}.textContent")
    browser.choose_file("#file", pictures / "large.png")
    browser.wait(f"{ERROR}.textContent.includes('at most 1 MB')")
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
        browser.wait(f"{ERROR}.textContent.includes('does not answer')")
    finally:  # the browser is that of other tests, too
        browser.devtools("Network.emulateNetworkConditions", {**network, "offline": False})
        browser.console()
