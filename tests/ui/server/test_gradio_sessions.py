"""What Gradio keeps of sessions: answers as long as somebody waits."""

from types import SimpleNamespace

import pytest

from vitdemo.ui.server.gradio_sessions import MAX_MAILBOXES, Mailboxes


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
