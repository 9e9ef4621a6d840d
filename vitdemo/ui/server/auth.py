"""Check that a request comes from a visitor who has logged in."""

from starlette.requests import HTTPConnection


def is_logged_in(request: HTTPConnection) -> bool:
    """Whether a request carries a valid login, as Gradio's own routes check it; true where the app needs no login."""
    app = request.app
    if app.auth is None:
        return True
    tokens = (request.cookies.get(f"access-token-{kind}{app.cookie_id}") for kind in ("", "unsecure-"))
    return any(token and token in app.tokens for token in tokens)
