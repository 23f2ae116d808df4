"""OpenAI, and every server that speaks its chat completions: Ollama, llama.cpp, vLLM, gateways.

```yaml
strong: {kind: openai, model: gpt-6.1-sol}
house:  {kind: openai, model: qwen3, base_url: "http://10.0.0.5:8000/v1", zone: network}
```
Options: `supports` narrows what the target can do, `drop` names body fields that are never sent, `extra_body` adds
some, `max_tokens_field` is `max_tokens` or `max_completion_tokens` (the default at OpenAI itself). OpenAI itself is asked
for its standard tariff, which is what a budget reserves, whatever the project's settings say; `extra_body:
{service_tier: flex}` asks for another, `auto` leaves it to the project.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast
from urllib.parse import urlsplit

from ..dialects.openai import TokensField, render_request
from ..errors import ConfigurationError
from .openai_answers import OpenAIReader
from .vendor import VendorTarget, begins_answer

if TYPE_CHECKING:
    import httpx2

    from ..policy.model import TargetBlock
    from ..types import Request
    from .base import TargetContext
    from .vendor import Session


_GO_ON = {"continue_final_message": True, "add_generation_prompt": False}
"""vLLM's and SGLang's words for: the last message is the beginning of the answer. llama.cpp goes on by itself."""


class OpenAITarget(VendorTarget):
    """A target that speaks `POST /chat/completions`."""

    dialect: ClassVar[Literal["openai", "anthropic"]] = "openai"
    key_variable = "OPENAI_API_KEY"
    default_url = "https://api.openai.com/v1"
    path = "/chat/completions"
    idempotent = True
    known_options = VendorTarget.known_options | {"max_tokens_field"}

    def __init__(self, block: TargetBlock, context: TargetContext) -> None:
        super().__init__(block, context)
        host = urlsplit(self._url).hostname or ""
        self._own = host == "openai.com" or host.endswith(".openai.com")
        field = block.options.get("max_tokens_field", "max_completion_tokens" if self._own else "max_tokens")
        if field not in ("max_completion_tokens", "max_tokens"):
            raise ConfigurationError(
                f"target {context.name!r}: options.max_tokens_field is max_tokens or max_completion_tokens"
            )
        self._tokens_field: TokensField = cast("TokensField", field)

    def _body(self, request: Request, *, stream: bool, session: Session) -> dict[str, Any]:
        del session
        body = render_request(
            request,
            model=self._block.model,
            max_tokens=request.max_tokens or self._block.max_tokens,
            stream=stream,
            tokens_field=self._tokens_field,
            top_k=not self._own,
        )
        if self._own:
            body["service_tier"] = "default"
        if self.info.continues and begins_answer(request):
            body |= _GO_ON
        return body

    def _reader(self) -> OpenAIReader:
        return OpenAIReader()

    def _client(self, module: Any, key: str, client: httpx2.AsyncClient) -> Any:
        return module.AsyncOpenAI(api_key=key, base_url=self._url, http_client=client, max_retries=0)
