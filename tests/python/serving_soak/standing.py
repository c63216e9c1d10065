"""Which contents of a name may answer at a moment, while others move it."""

import threading


class Standing:
    """The contents behind one name, each with the time in which it may answer."""

    def __init__(self, content):
        self._lock = threading.Lock()
        # Content, from when, until when.
        self._spans = [[content, 0.0, float("inf")]]

    def begins(self, content, moment):
        """From this moment the content may answer, too."""
        with self._lock:
            self._spans.append([content, moment, float("inf")])

    def only_last_after(self, moment):
        """After this moment nothing but the newest content may answer."""
        with self._lock:
            for span in self._spans[:-1]:
                span[2] = min(span[2], moment)
            del self._spans[:-8]

    def between(self, sent, at):
        """The contents that may answer a request of this time."""
        with self._lock:
            return {content for content, since, until in self._spans if since <= at and until >= sent}
