"""The studio: a web app in which everything about an edit is decided by looking.

``serve`` runs it; ``app.py`` of the project is a hosted demo made of the same.
"""

from aftermath.studio.limits import Limits
from aftermath.studio.server import build_app, serve
from aftermath.studio.studio import Studio
from aftermath.studio.workspace import Workspace

__all__ = ["Limits", "Studio", "Workspace", "build_app", "serve"]
