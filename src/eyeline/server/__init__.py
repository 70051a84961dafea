"""The explorer's back end: routes, who may use them, and limits. Nothing else serves HTTP."""

from eyeline.server.classroom import Classroom as Classroom
from eyeline.server.serving import Server as Server
from eyeline.server.serving import serve_reading as serve_reading
from eyeline.server.shelf import Opened as Opened
from eyeline.server.shelf import Shelf as Shelf

__all__ = ["Classroom", "Opened", "Server", "Shelf", "serve_reading"]
