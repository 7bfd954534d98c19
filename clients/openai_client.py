"""The official OpenAI client, unmodified, against a running statmux server.

usage: openai_client.py BASE_URL ENCODER DECODER
"""

import sys

import openai

base_url, encoder, decoder = sys.argv[1:4]
client = openai.OpenAI(base_url=f"{base_url}/v1", api_key="none", max_retries=0)

models = [model.id for model in client.models.list()]
assert encoder in models and decoder in models, models

# The client asks for base64 by default and decodes it itself.
answer = client.embeddings.create(model=encoder, input=["hello", "world"])
assert len(answer.data) == 2 and len(answer.data[0].embedding) > 0
length = sum(x * x for x in answer.data[0].embedding) ** 0.5
assert abs(length - 1) < 1e-3, length
floats = client.embeddings.create(model=encoder, input="hello", encoding_format="float")
difference = max(abs(a - b) for a, b in zip(floats.data[0].embedding, answer.data[0].embedding))
assert difference < 1e-4, difference

answer = client.completions.create(model=decoder, prompt="Once upon a time", max_tokens=8, temperature=0)
assert answer.choices[0].finish_reason in ("length", "stop") and answer.usage.completion_tokens <= 8
pieces = client.completions.create(model=decoder, prompt="Once upon a time", max_tokens=8, temperature=0, stream=True)
text = "".join(piece.choices[0].text for piece in pieces if piece.choices)
assert text == answer.choices[0].text, (text, answer.choices[0].text)

messages = [{"role": "user", "content": "Say something."}]
answer = client.chat.completions.create(model=decoder, messages=messages, max_tokens=8, temperature=0)
assert answer.choices[0].message.role == "assistant"
pieces = client.chat.completions.create(
    model=decoder, messages=messages, max_tokens=8, temperature=0, stream=True, stream_options={"include_usage": True}
)
text, usage = "", None
for piece in pieces:
    text += "".join(choice.delta.content or "" for choice in piece.choices)
    usage = piece.usage or usage
assert text == answer.choices[0].message.content, (text, answer.choices[0].message.content)
assert usage.completion_tokens == answer.usage.completion_tokens

# Several answers, whole and streamed; drawn anew each time, or the same by a seed.
answer = client.chat.completions.create(model=decoder, messages=messages, max_tokens=12, n=4)
texts = [choice.message.content for choice in answer.choices]
assert [choice.index for choice in answer.choices] == [0, 1, 2, 3] and len(set(texts)) > 1, texts
pieces = client.completions.create(model=decoder, prompt=["Once", "Twice"], max_tokens=4, n=2, stream=True, seed=7)
texts = [""] * 4
for piece in pieces:
    for choice in piece.choices:
        texts[choice.index] += choice.text
answer = client.completions.create(model=decoder, prompt=["Once", "Twice"], max_tokens=4, n=2, seed=7)
assert texts == [choice.text for choice in answer.choices], texts

# An earlier answer goes back as the client holds it, one that called a tool too.
call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
answer = client.chat.completions.create(model=decoder, messages=messages, max_tokens=4)
turns = messages + [answer.choices[0].message.model_dump()]
turns += [{"role": "assistant", "content": None, "tool_calls": [call]}]
turns += [{"role": "tool", "tool_call_id": "c1", "content": "2"}]
client.chat.completions.create(
    model=decoder, messages=turns, max_tokens=4, tools=[], logprobs=False, response_format={"type": "text"}, user="me"
)
for arguments in (
    {"logprobs": True},
    {"presence_penalty": 0.5},
    {"tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}]},
    {"response_format": {"type": "json_object"}},
    {"extra_body": {"temprature": 0}},
):
    (field,) = arguments.get("extra_body", arguments)
    try:
        client.chat.completions.create(model=decoder, messages=messages, max_tokens=4, **arguments)
        raise AssertionError(f"{field} must be refused")
    except openai.BadRequestError as error:
        assert error.param == field, error.body
for name in models:
    assert client.models.retrieve(name).id == name

try:
    client.embeddings.create(model=encoder, input="hello", extra_body={"deadline_ms": 0.001})
    raise AssertionError("a deadline that cannot be met must be refused")
except openai.RateLimitError as error:
    assert error.code == "too_late" and error.body["predicted_ms"] > error.body["deadline_ms"], error.body
try:
    client.embeddings.create(model="no such model", input="hello")
    raise AssertionError("an unknown model must be refused")
except openai.NotFoundError as error:
    assert error.code == "model_not_found", error.body

print("openai", openai.__version__, "works")
