"""The model asks for a tool, the program runs it, the model answers.

    python examples/tools.py

A target that cannot call tools leaves the plan by itself; `answer.receipt.decision.removed` says so.
"""

import json

from hybridinfer import Router

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "opening_hours",
            "description": "The opening hours of a shop on one day of the week.",
            "parameters": {
                "type": "object",
                "properties": {"day": {"type": "string"}},
                "required": ["day"],
            },
        },
    }
]


def opening_hours(day: str) -> str:
    """Stands for your own code."""
    return "closed" if day.lower() == "sunday" else "09:00-18:00"


messages = [{"role": "user", "content": "What are the opening hours on Sunday?"}]
with Router() as router:
    answer = router.complete(messages, tools=TOOLS)
    while answer.tool_calls:
        calls = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in answer.tool_calls
        ]
        messages.append({"role": "assistant", "content": answer.text or None, "tool_calls": calls})
        for call in answer.tool_calls:
            result = opening_hours(**json.loads(call.arguments))
            print(f"{answer.target} called {call.name}({call.arguments}) -> {result}")
            messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
        answer = router.complete(messages, tools=TOOLS)
print(answer.text)
