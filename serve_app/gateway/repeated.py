"""Requests with an Idempotency-Key: the first is answered and its bytes are kept, the next ones get the same bytes."""

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from serve_app.cache import Claim, StoredResponse
from serve_app.gateway.life import LiveQuery

_REPLAYED = (b"idempotent-replayed", b"true")


class ClaimedResponse(Response):
    """Answers the first request of a key. Only a whole, good answer is kept; after anything else the key is free."""

    def __init__(self, response: Response, live: LiveQuery, claim: Claim) -> None:
        super().__init__()
        self._response, self._live, self._claim = response, live, claim

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, and note what is sent."""
        sent: list[Message] = []

        async def noting(message: Message) -> None:
            await send(message)
            sent.append(message)

        with self._claim:
            await self._response(scope, receive, noting)
            if sent and not sent[-1].get("more_body") and self._live.finished_well:
                self._claim.fulfil(_stored(sent))


class RepeatedResponse(Response):
    """Answers a request that was answered before."""

    def __init__(self, stored: StoredResponse) -> None:
        super().__init__(stored.body, stored.status)
        self.raw_headers = [*stored.headers, _REPLAYED]


def _stored(sent: list[Message]) -> StoredResponse:
    start, *body = sent
    return StoredResponse(start["status"], tuple(start["headers"]), b"".join(part["body"] for part in body))
