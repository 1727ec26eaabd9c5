import time
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from relad_bids.model.learning.events import Events


def shown(folder):
    return EventAccumulator(str(folder), size_guidance={"images": 0, "scalars": 0}).Reload()


def scalars(folder, name):
    return [(event.step, event.value) for event in shown(folder).Scalars(name)]


def test_scalars_by_step(tmp_path):
    with Events(tmp_path / "new" / "folder", done=0) as events:
        for step in (1, 2):
            events.scalars(step, {"error": step / 4, "learning rate/network": 0.5})
    assert scalars(tmp_path / "new" / "folder", "error") == [(1, 0.25), (2, 0.5)]
    assert scalars(tmp_path / "new" / "folder", "learning rate/network") == [(1, 0.5), (2, 0.5)]


@pytest.mark.parametrize("done", [0, 2, 4])
def test_a_run_that_goes_on_shows_no_step_twice(tmp_path, done):
    """The first run came to step 4; its state was saved after ``done``."""
    with Events(tmp_path, done=0) as events:
        for step in (1, 2, 3, 4):
            events.scalars(step, {"error": 1.0})
            events.images(step, {"slice": np.zeros((2, 2))})
    # TensorBoard reads files in the order of their names, which hold the second they were begun in
    # and then the number of the writer as text: 10 would come before 9.
    began = int(time.time())
    while int(time.time()) == began:
        time.sleep(0.02)
    with Events(tmp_path, done=done) as events:
        for step in range(done + 1, 7):
            events.scalars(step, {"error": 2.0})
            events.images(step, {"slice": np.ones((2, 2))})
    steps = [1, 2, 3, 4, 5, 6]
    assert scalars(tmp_path, "error") == [(step, 1.0 if step <= done else 2.0) for step in steps]
    assert [event.step for event in shown(tmp_path).Images("slice")] == steps


@pytest.mark.parametrize("colours", [False, True])
def test_pictures_are_shown_as_they_are(tmp_path, colours):
    """Rows down, 0 black and 1 white; what lies beyond is cut. Eight bits."""
    picture = np.array([[0.0, 0.25, 1.0], [-3.0, 0.5, 7.0]])
    if colours:
        picture = np.stack([picture, 1 - picture, np.zeros((2, 3))])
    with Events(tmp_path, done=0) as events:
        events.images(3, {"tau": picture})
    (event,) = shown(tmp_path).Images("tau")
    seen = np.asarray(Image.open(BytesIO(event.encoded_image_string)).convert("RGB")) / 255
    expected = np.clip(np.moveaxis(picture, 0, -1) if colours else picture[..., None], 0, 1)
    assert event.step == 3
    np.testing.assert_allclose(seen, np.broadcast_to(expected, (2, 3, 3)), atol=1 / 255)


def test_what_was_flushed_is_there(tmp_path):
    """Without leaving: the process may be killed from here on."""
    events = Events(tmp_path, done=0)
    for step in range(1, 50):
        events.scalars(step, {"error": 1.0})
    events.flush()
    assert scalars(tmp_path, "error") == [(step, 1.0) for step in range(1, 50)]
    events.__exit__(None, None, None)


def test_without_a_folder_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with Events(None, done=0) as events:
        events.scalars(1, {"error": 1.0})
        events.images(1, {"tau": np.zeros((2, 2))})
        events.flush()
    assert list(tmp_path.iterdir()) == []
