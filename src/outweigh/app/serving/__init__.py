"""`outweigh serve`: what a server shows, who may ask it, and how it runs."""

from __future__ import annotations

from outweigh.app.serving.answering import open_answers
from outweigh.app.serving.running import serve, serve_many
from outweigh.app.serving.served import Served, open_served
from outweigh.app.serving.settings import Settings
from outweigh.app.serving.starting import start

__all__ = ["Served", "Settings", "open_answers", "open_served", "serve", "serve_many", "start"]
