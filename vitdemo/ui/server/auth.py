"""Whether a request comes from somebody who has logged in."""

from starlette.requests import HTTPConnection


def is_logged_in(request: HTTPConnection) -> bool:
    """As Gradio decides it for its own routes; true where no login is asked for."""
    app = request.app
    if app.auth is None:
        return True
    tokens = (request.cookies.get(f"access-token-{kind}{app.cookie_id}") for kind in ("", "unsecure-"))
    return any(each and each in app.tokens for each in tokens)
