"""Sessions of the Attention tab and their models."""

from types import SimpleNamespace

import pytest

from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.ui.tabs.attention.sessions import AttentionSessions


def test_another_model_under_the_same_name_is_not_taken_for_the_sessions(vit):
    sessions = AttentionSessions(
        SimpleNamespace(settings=Settings(), get=lambda name, visitor: SimpleNamespace(result=lambda timeout: vit))
    )
    assert sessions.vit(SimpleNamespace(model="auto", visitor="ann", off=(), vit_name=vit.name)) is vit
    with pytest.raises(UserError, match="Another model answers by this name now"):
        sessions.vit(SimpleNamespace(model="auto", visitor="ann", off=(), vit_name="demo"))
