"""Record what SmolLM2's float32 weights say, for the test that compares the int8 graph with them.

    python benchmarks/make_reference.py [GGUF] > tests/fixtures/smollm2_reference.json

Everything comes from `reference.py`, a plain numpy forward pass over the dequantised weights; nothing of the
engine but its tokenizer takes part. Takes a minute.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from hybridinfer.edge.catalogue import find
from hybridinfer.edge.gguf import GgufFile
from hybridinfer.edge.lexicon import Lexicon
from hybridinfer.edge.store import Store
from hybridinfer.edge.template import ChatTemplate
from hybridinfer.edge.tokenizer import Tokenizer
from hybridinfer.types import Message, Text

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.reference import Reference

MODEL = "smollm2-135m"
TEXTS = (
    (
        "The history of the bicycle begins in the early nineteenth century. In 1817 a German baron built a wooden machine "
        "with two wheels in one line, which its rider pushed along with his feet. Pedals came about forty years later, first "
        "fixed to the front wheel. Because one turn of the pedals was one turn of the wheel, builders made the front wheel "
        "larger and larger, until the rider sat more than a metre above the road. The safety bicycle of the 1880s, with a "
        "chain that drove the rear wheel, ended this: it was lower, faster and far less dangerous. Pneumatic tyres followed "
        "in 1888, and with them the bicycle became a means of transport for millions of people all over the world."
    ),
    (
        "def binary_search(items, target):\n    low, high = 0, len(items) - 1\n    while low <= high:\n"
        "        middle = (low + high) // 2\n        if items[middle] == target:\n            return middle\n"
        "        if items[middle] < target:\n            low = middle + 1\n        else:\n            high = middle - 1\n"
        "    return -1\n\n\ndef test_binary_search():\n    assert binary_search([1, 3, 5, 7], 5) == 2\n"
        "    assert binary_search([], 1) == -1\n"
    ),
    (
        "Dear Ms Weber,\n\nThank you for your order of 12 November. Two of the three books have been sent to you today and "
        "should arrive within four working days. The third one is being reprinted; we expect it in the second week of "
        "December and will send it without further costs. If you would rather not wait, please let us know, and we will "
        "refund the price at once.\n\nWith kind regards,\nthe customer service"
    ),
    (
        "To boil an egg, put it into a pot of cold water, bring the water to a boil, turn off the heat and cover the pot. "
        "After six minutes the yolk is soft; after twelve minutes it is hard. Cool the egg under cold water before you peel "
        "it. Older eggs are easier to peel than fresh ones, because their white has become less acid."
    ),
)
QUESTIONS = (
    "What is the capital of France?",
    "Write one sentence about the sea.",
    "List three colours.",
    "What is a prime number?",
)
GREEDY_TOKENS = 24


def main(path: Path) -> None:
    with GgufFile(path) as gguf:
        model = Reference(gguf)
        tokenizer = Tokenizer(Lexicon.of(gguf.metadata))
        template = ChatTemplate(gguf.metadata["tokenizer.chat_template"], tokenizer)
    forced = []
    for text in TEXTS:
        tokens = tokenizer.encode(text)
        forced.append({"tokens": tokens, "top": model.logits(tokens).argmax(-1).tolist()})
    greedy = []
    for question in QUESTIONS:
        prompt = template.encode([Message(role="user", parts=(Text(text=question),))])
        answer = model.greedy(prompt, GREEDY_TOKENS, tokenizer.end_ids)
        greedy.append({"question": question, "prompt": prompt, "answer": answer, "text": tokenizer.decode(answer)})
    texts = json.loads((Path(__file__).parents[1] / "tests/fixtures/multilingual.json").read_text("utf-8"))
    ids = [tokenizer.encode(text) for text in texts]
    print(json.dumps({"model": MODEL, "forced": forced, "greedy": greedy, "ids": ids}))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Store.default().file(find(MODEL)))
