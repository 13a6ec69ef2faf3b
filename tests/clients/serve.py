#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The official clients of OpenAI's and Anthropic's interfaces against `nibble serve`.

    tests/clients/serve.py NIBBLE MODEL

Drives every feature that docs/serving.md names, and the errors as the clients map them. Talks to this machine alone.
"""
import atexit
import concurrent.futures
import json
import math
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

import anthropic
import openai

TEMPLATE = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}"
KEY = "a key of this test"


class Server:
    def __init__(self, nibble, model, *options):
        self.folder = tempfile.TemporaryDirectory()
        folder = pathlib.Path(self.folder.name)
        (folder / "lines.jinja").write_text(TEMPLATE)
        (folder / "keys").write_text("# one a line\n" + KEY + "\n")
        self.errors = open(folder / "log", "w+")
        self.process = subprocess.Popen(
            [nibble, "serve", model, "--port", "0", "--template", str(folder / "lines.jinja"), "--alias", "tale",
             "--api-key-file", str(folder / "keys"), *options], stderr=self.errors)
        atexit.register(self.process.kill)  # where a check fails; of one that has ended it does nothing
        for _ in range(1200):
            found = re.search(r"at (http://\S+)/v1", self.log())
            if found or self.process.poll() is not None:
                break
            time.sleep(0.1)
        if not found:
            raise SystemExit("the server did not start: " + self.log())
        self.url = found.group(1)
        self.client = openai.OpenAI(base_url=self.url + "/v1", api_key=KEY, max_retries=0, timeout=120)

    def log(self):
        return pathlib.Path(self.errors.name).read_text()

    def get(self, path):
        request = urllib.request.Request(self.url + path, headers={"X-Api-Key": KEY})
        return urllib.request.urlopen(request, timeout=60).read().decode()

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=120)
        assert code == 0, (code, self.log())


def message(text):
    return [{"role": "user", "content": text}]


def ask(client, text, **options):
    options = {"model": "tale", "temperature": 0, "max_tokens": 24, "extra_body": {"ignore_eos": True}} | options
    return client.chat.completions.create(messages=message(text), **options)


def raises(kind, call, part=""):
    try:
        call()
    except kind as error:
        assert part in str(error), (part, str(error))
        return error
    raise AssertionError(f"no {kind.__name__}")


def chats(client):
    whole = ask(client, "Once upon a time")
    text = whole.choices[0].message.content
    assert text and whole.choices[0].finish_reason == "length" and whole.usage.completion_tokens == 24
    again = [ask(client, "She had a cat", max_tokens=4).usage for _ in range(2)]
    assert again[1].prompt_tokens_details.cached_tokens == again[1].prompt_tokens - 1
    parts = list(ask(client, "Once upon a time", stream=True, stream_options={"include_usage": True}))
    assert "".join(p.choices[0].delta.content or "" for p in parts if p.choices) == text
    assert parts[-1].usage.completion_tokens == 24 and not parts[-1].choices
    assert [p.choices[0].finish_reason for p in parts if p.choices][-1] == "length"
    stopped = ask(client, "Once upon a time", stop=[text[10:15]])
    assert stopped.choices[0].message.content == text[:text.index(text[10:15])]
    assert stopped.choices[0].finish_reason == "stop"
    chances = ask(client, "Tom", logprobs=True, top_logprobs=4).choices[0].logprobs.content
    assert len(chances) == 24 and all(len(c.top_logprobs) == 4 for c in chances)
    assert all(c.logprob == c.top_logprobs[0].logprob for c in chances)
    seeded = [ask(client, "Tom", n=2, seed=5, temperature=1.0) for _ in range(2)]
    assert [c.message.content for c in seeded[0].choices] == [c.message.content for c in seeded[1].choices]
    assert seeded[0].choices[0].message.content != seeded[0].choices[1].message.content
    biased = ask(client, "Tom", logit_bias={"50": 100}, max_tokens=3, logprobs=True)
    assert len({c.token for c in biased.choices[0].logprobs.content}) == 1
    ask(client, "Tom", presence_penalty=1.5, frequency_penalty=1.0, top_p=0.5, user="me", max_completion_tokens=3)
    raw = client.chat.completions.with_raw_response.create(model="tale", messages=message("Tom"), max_tokens=2)
    assert raw.headers["x-request-id"] and raw.parse().choices


def texts(client):
    made = client.completions.create(model="tale", prompt="Tom had", temperature=0, max_tokens=8)
    several = client.completions.create(model="tale", prompt=["Tom had", "She"], temperature=0, max_tokens=8, n=2)
    assert [c.index for c in several.choices] == [0, 1, 2, 3] and several.choices[1].text == made.choices[0].text
    scored = client.completions.create(model="tale", prompt="Tom had a dog.", temperature=0, max_tokens=1, echo=True,
                                       logprobs=2)
    told = scored.choices[0].logprobs
    assert told.token_logprobs[0] is None and all(v <= 0 for v in told.token_logprobs[1:])
    assert scored.choices[0].text.startswith("Tom had a dog.")
    # A text's probability is the product of its tokens', each given those before it.
    request = urllib.request.Request(str(client.base_url).replace("/v1/", "/tokenize"), headers={"X-Api-Key": KEY},
                                     data=b'{"content": "Tom had a dog.", "add_special": true}')
    ids = json.loads(urllib.request.urlopen(request, timeout=60).read())["tokens"]
    for i in (2, len(ids) - 1):
        alone = client.completions.create(model="tale", prompt=ids[:i], temperature=0, max_tokens=1, logprobs=0,
                                          logit_bias={str(ids[i]): 100})
        assert math.isclose(alone.choices[0].logprobs.token_logprobs[0], told.token_logprobs[i], abs_tol=1e-6)
    assert "".join(p.choices[0].text for p in client.completions.create(
        model="tale", prompt="Tom had", temperature=0, max_tokens=8, stream=True)) == made.choices[0].text


def messages(server):
    client = anthropic.Anthropic(base_url=server.url, api_key=KEY, max_retries=0, timeout=120)
    options = {"model": "tale", "max_tokens": 12, "extra_body": {"temperature": 0}}
    whole = client.messages.create(messages=message("Once upon a time"), system="Be brief.", **options)
    assert whole.content[0].type == "text" and whole.stop_reason in ("max_tokens", "end_turn")
    with client.messages.stream(messages=message("Once upon a time"), system="Be brief.", **options) as stream:
        assert "".join(stream.text_stream) == whole.content[0].text
        assert stream.get_final_message().usage.output_tokens == whole.usage.output_tokens
    count = client.messages.count_tokens(model="tale", messages=message("Once upon a time"), system="Be brief.")
    assert count.input_tokens == whole.usage.input_tokens + whole.usage.cache_read_input_tokens
    stopped = client.messages.create(messages=message("Once upon a time"), system="Be brief.",
                                     stop_sequences=[whole.content[0].text[4:7]], **options)
    assert stopped.stop_reason == "stop_sequence" and stopped.stop_sequence == whole.content[0].text[4:7]
    raises(anthropic.BadRequestError, lambda: client.messages.create(
        messages=message("x"), tools=[{"type": "bash_20250124", "name": "bash"}], **options), "tools")
    raises(anthropic.AuthenticationError, lambda: client.with_options(api_key="x").messages.create(
        messages=message("x"), **options))


def responses(client):
    options = {"model": "tale", "input": "Once upon a time", "max_output_tokens": 12, "temperature": 0}
    whole = client.responses.create(**options)
    assert whole.output_text and whole.usage.output_tokens <= 12
    text, last = "", None
    for event in client.responses.create(stream=True, **options):
        text += event.delta if event.type == "response.output_text.delta" else ""
        last = event
    assert text == whole.output_text and last.response.output_text == text
    raises(openai.BadRequestError, lambda: client.responses.create(previous_response_id="x", **options), "previous")


CITY = {"type": "object", "properties": {"city": {"type": "string", "enum": ["Paris", "Rome"]}}, "required": ["city"],
        "additionalProperties": False}


def tools(server):
    """The model is held to calls, and its clients read them."""
    function = {"name": "weather", "description": "Of a city.", "parameters": CITY, "strict": True}
    given = {"tools": [{"type": "function", "function": function}], "max_tokens": 120, "extra_body": {},
             "parallel_tool_calls": False}
    whole = ask(server.client, "Rain?", tool_choice="required", **given).choices[0]
    assert whole.finish_reason == "tool_calls" and whole.message.content is None
    call, = whole.message.tool_calls
    assert call.function.name == "weather" and json.loads(call.function.arguments)["city"] in ("Paris", "Rome")
    named = ask(server.client, "Rain?", tool_choice={"type": "function", "function": {"name": "weather"}}, **given)
    assert named.choices[0].message.tool_calls[0].function == call.function
    with server.client.chat.completions.stream(model="tale", messages=message("Rain?"), temperature=0,
                                               tool_choice="required", **given) as stream:
        for event in stream:
            pass
        streamed, = stream.get_final_completion().choices[0].message.tool_calls
    assert (streamed.function.name, streamed.function.arguments) == (call.function.name, call.function.arguments)
    history = message("Rain?") + [whole.message.model_dump(exclude_none=True),
                                  {"role": "tool", "tool_call_id": call.id, "content": "None."}]
    options = {"model": "tale", "temperature": 0, "max_tokens": 8}
    assert server.client.chat.completions.create(messages=history, tools=given["tools"], **options).choices
    assert not ask(server.client, "Rain?", tool_choice="none", **given).choices[0].message.tool_calls
    raises(openai.BadRequestError, lambda: ask(server.client, "x", tools=[{"type": "custom", "custom": {"name": "c"}}]),
           "tools[0]")

    client = anthropic.Anthropic(base_url=server.url, api_key=KEY, max_retries=0, timeout=120)
    given = {"tools": [{"name": "weather", "description": "Of a city.", "input_schema": CITY}], "max_tokens": 120,
             "model": "tale", "extra_body": {"temperature": 0},
             "tool_choice": {"type": "any", "disable_parallel_tool_use": True}}
    told = client.messages.create(messages=message("Rain?"), **given)
    block, = told.content
    assert told.stop_reason == "tool_use" and block.name == "weather" and block.input["city"] in ("Paris", "Rome")
    with client.messages.stream(messages=message("Rain?"), **given) as stream:
        assert stream.get_final_message().content[0].input == block.input
    result = [{"type": "tool_result", "tool_use_id": block.id, "content": "None."}]
    turn = message("Rain?") + [{"role": "assistant", "content": told.content}, {"role": "user", "content": result}]
    assert client.messages.create(messages=turn, **given | {"tool_choice": {"type": "auto"}}).usage.output_tokens

    given = {"model": "tale", "input": "Rain?", "temperature": 0, "max_output_tokens": 120,
             "tools": [{"type": "function", "name": "weather", "parameters": CITY, "strict": True}],
             "tool_choice": "required", "parallel_tool_calls": False}
    item, = server.client.responses.create(**given).output
    assert item.type == "function_call" and json.loads(item.arguments)["city"] in ("Paris", "Rome")
    arguments = "".join(event.delta for event in server.client.responses.create(stream=True, **given)
                        if event.type == "response.function_call_arguments.delta")
    assert arguments == item.arguments
    output = {"type": "function_call_output", "call_id": item.call_id, "output": "None."}
    turn = message("Rain?") + [item.model_dump(exclude_none=True), output]
    assert server.client.responses.create(**given | {"input": turn, "tool_choice": "auto"}).output


def errors(server):
    client = server.client
    raises(openai.AuthenticationError, lambda: ask(client.with_options(api_key="another"), "x"))
    raises(openai.NotFoundError, lambda: ask(client, "x", model="gpt-9"), "gpt-9")
    raises(openai.NotFoundError, lambda: client.models.retrieve("none"))
    raises(openai.NotFoundError, lambda: client.embeddings.create(model="tale", input="x"))
    raises(openai.BadRequestError, lambda: ask(client, "x", temperature=-1), "temperature")
    raises(openai.BadRequestError, lambda: ask(client, "word " * 4000), "context")
    raises(openai.BadRequestError, lambda: ask(client, "x", extra_body={"mirostat": 2}), "mirostat")
    full = raises(openai.BadRequestError, lambda: ask(client, "word " * 4000))
    assert full.code == "context_length_exceeded" and full.param == "messages"
    error = raises(openai.APIStatusError, lambda: client.chat.completions.create(
        model="tale", messages=message("x"), extra_body={"filler": "x" * (5 << 20)}))
    assert error.status_code == 413, error


def together(server):
    """Alone, and among others that come and leave."""
    texts = [f"The {thing} was" for thing in ("cat", "dog", "house", "ball", "sun", "boat", "tree", "hat")]
    options = [{"temperature": 0}, {"temperature": 1.1, "seed": 3}]
    alone = {(t, i): ask(server.client, t, **o).choices[0].message.content for t in texts for i, o in enumerate(options)}

    def leave(text):
        stream = ask(server.client, text, stream=True, max_tokens=200)
        next(iter(stream))
        stream.close()

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        left = [pool.submit(leave, t) for t in texts]
        found = {key: pool.submit(ask, server.client, key[0], **options[key[1]]) for key in alone}
        for key, one in found.items():
            assert one.result().choices[0].message.content == alone[key], key
        for one in left:
            one.result()
    for _ in range(600):
        metrics = server.get("/metrics")
        if "nibble_num_requests_running 0\n" in metrics and "nibble_num_requests_waiting 0\n" in metrics:
            break
        time.sleep(0.1)
    else:
        raise AssertionError("requests of clients that have left go on")
    assert 'nibble_request_success_total{finished_reason="failed"} 0' in metrics


def described(nibble, model):
    """What docs/openapi.json says, schemathesis asks, sound and not: no answer is one that the file does not know."""
    server = Server(nibble, model, "--context", "96")
    program = pathlib.Path(sys.executable).parent / "schemathesis"
    checks = ["not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance",
              "response_schema_conformance", "unsupported_method", "missing_required_header", "ignored_auth"]
    tried = subprocess.run([program, "run", server.url + "/openapi.json", "--header", f"X-Api-Key: {KEY}", "--checks",
                            ",".join(checks), "--phases", "examples,coverage,fuzzing", "--max-examples", "20", "--seed", "1",
                            "--generation-deterministic", "--request-timeout", "60", "--continue-on-failure", "--no-color"],
                           capture_output=True, text=True, cwd=server.folder.name, timeout=1200)
    assert tried.returncode == 0, tried.stdout[-20000:] + tried.stderr
    server.end()


def several(nibble, model):
    """Two models of which a budget holds one: each is loaded when it is asked for, and gets the same texts."""
    weights = sum(f.stat().st_size for f in pathlib.Path(model).glob("*.safetensors"))
    cache = 64 << 20
    server = Server(nibble, model, model, "--alias", "second", "--memory", str(cache), "--budget",
                    str(3 * (weights + cache) // 2))
    client = server.client
    assert [m.id for m in client.models.list()] == ["tale", "second"]
    raises(openai.BadRequestError, lambda: ask(client, "Tom", model=""), "this server has 'tale', 'second'")
    raises(openai.NotFoundError, lambda: ask(client, "Tom", model="third"), "'tale', 'second'")
    texts = {name: [ask(client, "Tom", model=name).choices[0].message.content for _ in range(2)]
             for name in ("tale", "second", "tale")}
    assert len({text for of_model in texts.values() for text in of_model}) == 1
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(ask, client, "Tom", model=("tale", "second")[i % 2]) for i in range(16)]
        for i, answer in enumerate(answers):
            told = answer.result()
            assert told.model == ("tale", "second")[i % 2] and told.choices[0].message.content == texts["tale"][0]
    metrics = server.get("/metrics")
    loaded = [int(n) for n in re.findall(r'nibble_model_loaded\{model="\w+"\} (\d)', metrics)]
    assert sorted(loaded) == [0, 1], loaded
    loads = [int(n) for n in re.findall(r'nibble_model_loads_total\{model="\w+"\} (\d+)', metrics)]
    assert min(loads) >= 1 and sum(loads) >= 3, loads
    assert '"event":"unloaded"' in server.log() and '"model":"second"' in server.log()
    server.end()
    small = subprocess.run([nibble, "serve", model, model, "--alias", "a", "--alias", "b", "--budget", "1MB", "--port", "0"],
                           capture_output=True, text=True, timeout=60)
    assert small.returncode == 1 and "'a' needs more memory" in small.stderr and " of 1000000" in small.stderr, small


def main():
    nibble, model = sys.argv[1:]
    server = Server(nibble, model)
    assert [m.id for m in server.client.models.list()] == ["tale"]
    assert server.client.models.retrieve("tale").object == "model"
    for check in (chats, texts, responses):
        check(server.client)
        print(f"{check.__name__}: as promised")
    messages(server)
    print("messages: as promised")
    tools(server)
    print("tools: called as the clients read them")
    errors(server)
    print("errors: as the client maps them")
    together(server)
    print("together: the same text alone and among 23 others")
    server.end()
    described(nibble, model)
    print("described: schemathesis finds nothing that docs/openapi.json does not tell")
    several(nibble, model)
    print("several: loaded and unloaded as they were asked for")
    small = Server(nibble, model, "--parallel", "1", "--queue", "0")
    streams = [ask(small.client, "Tom", stream=True, max_tokens=300)]
    error = raises(openai.RateLimitError, lambda: ask(small.client, "She"))
    assert int(error.response.headers["retry-after"]) >= 1
    streams[0].close()
    small.end()
    print("queue: refused with a time to come again; both servers ended when told to")


if __name__ == "__main__":
    main()
