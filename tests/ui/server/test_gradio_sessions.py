"""What Gradio keeps of sessions: answers as long as somebody waits, values of gr.State, and nothing of the page."""

from types import SimpleNamespace

import gradio as gr
import pytest

from vitdemo.ui.server.gradio_sessions import MAX_MAILBOXES, Mailboxes, Session, Sessions


def test_who_waits_keeps_their_mailbox_and_of_the_others_the_oldest_go():
    queue = SimpleNamespace(event_ids_to_events={"1": SimpleNamespace(session_hash="waiting")}, pending_event_ids_session={})
    boxes = Mailboxes(queue)
    boxes["waiting"] = "gallery"
    for number in range(3 * MAX_MAILBOXES):
        queue.pending_event_ids_session[f"session {number}"] = set()
        boxes[f"session {number}"] = number
    assert boxes["waiting"] == "gallery"
    assert len(boxes) <= MAX_MAILBOXES + 1
    assert f"session {3 * MAX_MAILBOXES - 1}" in boxes
    assert "session 0" not in boxes
    assert len(queue.pending_event_ids_session) <= MAX_MAILBOXES + 1


def test_who_waits_is_not_looked_up_for_every_session():
    boxes = Mailboxes(SimpleNamespace())  # a queue that can't be asked
    for number in range(MAX_MAILBOXES):
        boxes[f"session {number}"] = number
    with pytest.raises(AttributeError):
        boxes["one more"] = MAX_MAILBOXES


@pytest.fixture
def page():
    with gr.Blocks() as page:
        page.value, page.text = gr.State(3), gr.Textbox("a")
    page.state_session_capacity = 2
    return page


def test_a_session_remembers_states_alone(page):
    session = Session(page)
    assert session[page.value._id] == 3
    session[page.value._id] = 4
    session._update_value_in_config(page.text._id, "large" * 1000)
    assert session[page.value._id] == 4
    assert session.config_values == {}
    assert Session(page)[page.value._id] == 3


def test_sessions_are_bounded(page):
    sessions = Sessions(page)
    for name in "abc":
        sessions[name][page.value._id] = name
    assert list(sessions.session_data) == ["b", "c"]
    assert sessions["c"][page.value._id] == "c"
    assert isinstance(sessions["d"], Session)
