"""Two answers at once, each printed as it comes.

python examples/async_streaming.py
"""

import asyncio

from hybridinfer import AsyncRouter


async def ask(router: AsyncRouter, question: str) -> None:
    """Stream one answer, then say who gave it."""
    async with router.stream(question, max_tokens=60, timeout=30) as stream:
        async for text in stream.text_stream:
            print(text, end="", flush=True)
        print(f"\n-- {stream.response.target} answered {question!r} in {stream.response.receipt.seconds:.2f} s")


async def main() -> None:
    """Leaving the stream's `async with` early would stop the call and book what it cost so far."""
    async with AsyncRouter() as router, asyncio.TaskGroup() as group:
        group.create_task(ask(router, "Name three rivers."))
        group.create_task(ask(router, "Name three mountains."))


if __name__ == "__main__":
    asyncio.run(main())
