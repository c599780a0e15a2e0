"""The web page and the HTTP API: `app.create_app(Settings())` is an ASGI application."""
