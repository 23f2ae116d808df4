"""Anthropic's messages.

```yaml
fast: {kind: anthropic, model: claude-haiku-5-5, timeout: 8s}
```
Options: `supports` narrows what the target can do, `drop` names body fields that are never sent, `extra_body` adds
some, `sampling: true` sends temperature, top_p and top_k, which today's models refuse, `prompt_cache: false` leaves
out the marks by which the vendor keeps what comes again (`prompt_cache.py`).
"""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ..dialects.anthropic import render_request
from .anthropic_answers import AnthropicReader
from .prompt_cache import PromptCache
from .vendor import VendorTarget

if TYPE_CHECKING:
    import httpx2

    from ..policy.model import TargetBlock
    from ..types import Request
    from .base import TargetContext
    from .vendor import Session


class AnthropicTarget(VendorTarget):
    """A target that speaks `POST /v1/messages`."""

    dialect: ClassVar[Literal["openai", "anthropic"]] = "anthropic"
    key_variable = "ANTHROPIC_API_KEY"
    default_url = "https://api.anthropic.com"
    path = "/v1/messages"
    known_options = VendorTarget.known_options | {"prompt_cache", "sampling"}

    def __init__(self, block: TargetBlock, context: TargetContext) -> None:
        super().__init__(block, context)
        caches = block.options.get("prompt_cache", True) and "cache_control" not in self._extra_body
        self._cache = PromptCache() if caches else None

    def _body(self, request: Request, *, stream: bool, session: Session) -> dict[str, Any]:
        def adapt(schema: dict[str, Any]) -> dict[str, Any]:
            adapted: dict[str, Any] = session.sdk.transform_schema(deepcopy(schema))
            return adapted

        body = render_request(
            request,
            model=self._block.model,
            max_tokens=request.max_tokens or self._block.max_tokens,
            stream=stream,
            adapt_schema=adapt,
            sampling=bool(self._block.options.get("sampling")),
        )
        if self._cache is not None:
            self._cache.mark(body)
        return body

    def _reader(self) -> AnthropicReader:
        return AnthropicReader()

    def _client(self, module: Any, key: str, client: httpx2.AsyncClient) -> Any:
        # Spans of the SDK's own would tell model and sizes to whoever collects them; ours are in `observe`.
        return module.AsyncAnthropic(
            api_key=key, base_url=self._url, http_client=client, max_retries=0, open_telemetry=False
        )
