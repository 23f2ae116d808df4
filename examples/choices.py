"""Answers in a form: a label out of a list, a number by a pattern, an object by a schema.

    python examples/choices.py

On this machine labels are scored and each token of the rest is held to the form, so even a small model keeps it. A
target that cannot promise a form leaves the plan by itself, and every answer is checked before it counts.
"""

import json

from hybridinfer import Router

MAILS = ("My parcel 4711 never came!", "What a lovely shop, thank you.", "Do you sell tea?")
LABELS = ["praise", "question", "complaint"]
FACTS = {
    "type": "object",
    "properties": {"who": {"type": "string"}, "year": {"type": "integer"}},
    "required": ["who", "year"],
    "additionalProperties": False,
}

with Router() as router:
    for mail in MAILS:
        answer = router.complete(f"Is this praise, a question or a complaint? '{mail}'", choices=LABELS)
        sure = "" if answer.confidence is None else f", {answer.confidence:.0%} of its probability"
        print(f"{mail} -> {answer.text} ({answer.target}{sure})" if answer.text in LABELS else answer.text)

    answer = router.complete(
        "Ada Lovelace was born in London in 1815. Who was born, and in which year?",
        response_format={"type": "json_schema", "json_schema": {"name": "birth", "schema": FACTS}},
    )
    if answer.finish_reason == "stop" and answer.text.startswith("{"):  # a canned reply keeps no form
        print(json.loads(answer.text)["who"], json.loads(answer.text)["year"], f"({answer.target})")
