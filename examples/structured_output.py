"""An answer that keeps a schema, as a pydantic object.

python examples/structured_output.py
"""

from datetime import date

from pydantic import BaseModel, ValidationError

from hybridinfer import Router


class Meeting(BaseModel):
    """What is to be found in the text."""

    model_config = {"extra": "forbid"}

    city: str
    day: date


TEXT = "The board met in Lisbon on 14 March 2025 and adjourned at noon."

with Router() as router:
    answer = router.complete(
        f"Which city, and which day (YYYY-MM-DD)? {TEXT}",
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "meeting", "schema": Meeting.model_json_schema(), "strict": True},
        },
    )
    try:
        meeting = Meeting.model_validate_json(answer.text)
        print(f"{meeting.city}, {meeting.day:%d.%m.%Y} ({answer.target})")
    except ValidationError:  # a canned reply keeps no schema
        print(f"{answer.target}: {answer.text}")
