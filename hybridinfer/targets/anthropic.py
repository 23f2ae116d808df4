"""Anthropic's messages.

```yaml
fast: {kind: anthropic, model: claude-haiku-5-5, timeout: 8s}
```
Options: `supports` narrows what the target can do, `drop` names body fields that are never sent, `extra_body` adds
some (`cache_control: {type: ephemeral}` caches the prompt), `sampling: true` sends temperature, top_p and top_k, which
today's models refuse.
"""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ..dialects.anthropic import render_request
from .anthropic_answers import AnthropicReader
from .vendor import VendorTarget

if TYPE_CHECKING:
    import httpx2

    from ..types import Request
    from .vendor import Session


class AnthropicTarget(VendorTarget):
    """A target that speaks `POST /v1/messages`."""

    dialect: ClassVar[Literal["openai", "anthropic"]] = "anthropic"
    key_variable = "ANTHROPIC_API_KEY"
    default_url = "https://api.anthropic.com"
    path = "/v1/messages"
    known_options = VendorTarget.known_options | {"sampling"}

    def _body(self, request: Request, *, stream: bool, session: Session) -> dict[str, Any]:
        def adapt(schema: dict[str, Any]) -> dict[str, Any]:
            adapted: dict[str, Any] = session.sdk.transform_schema(deepcopy(schema))
            return adapted

        return render_request(
            request,
            model=self._block.model,
            max_tokens=request.max_tokens or self._block.max_tokens,
            stream=stream,
            adapt_schema=adapt,
            sampling=bool(self._block.options.get("sampling")),
        )

    def _reader(self) -> AnthropicReader:
        return AnthropicReader()

    def _client(self, module: Any, key: str, client: httpx2.AsyncClient) -> Any:
        # Spans of the SDK's own would tell model and sizes to whoever collects them; ours are in `observe`.
        return module.AsyncAnthropic(
            api_key=key, base_url=self._url, http_client=client, max_retries=0, open_telemetry=False
        )
