"""An agent framework on top of the router: pydantic-ai keeps its own tool loop, the policy decides who answers.

    pip install pydantic-ai-slim
    python examples/pydantic_ai_app.py

Anything that takes an OpenAI client works the same way: its `chat` is replaced by the router's.
"""

import asyncio

from openai import AsyncOpenAI
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from hybridinfer import AsyncRouter, Receipt


def opening_hours(day: str) -> str:
    """The opening hours of the shop on one day of the week."""
    return "closed" if day.lower() == "sunday" else "09:00-18:00"


class Log:
    """A hook is told of every receipt; here, one for each turn of the agent's loop."""

    def on_receipt(self, receipt: Receipt) -> None:
        """Receipts hold no content: safe to print."""
        print(f"{receipt.target} ({receipt.zone}), rung {receipt.rung}, ${receipt.cost_usd}")


async def main() -> None:
    """Ask once; the agent calls the tool and asks again."""
    async with AsyncRouter(hooks=[Log()]) as router:
        client = AsyncOpenAI(api_key="unused", base_url="http://router.invalid")
        client.chat = router.chat
        model = OpenAIChatModel("auto", provider=OpenAIProvider(openai_client=client))
        agent = Agent(model, tools=[opening_hours])
        result = await agent.run("What are the opening hours on Sunday?")
        print(result.output)


if __name__ == "__main__":
    asyncio.run(main())
