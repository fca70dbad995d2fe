"""The official Python client, remote-controlled by a test: takes commands as lines of JSON, answers with such lines.

client.py MODE PROGRAM ARGUMENT...

MODE is how a session begins: "legacy" with the request `initialize`, "auto" without where the server knows how.
Each command has an `id`, which its answers carry; commands run side by side:

    {"id": 1, "do": "list"}                                       the tools
    {"id": 2, "do": "call", "tool": .., "arguments": {..}}        a call; {"progress": [..]} comes before its result
    {"id": 3, "do": "cancel", "call": 2}                          cancels it
    {"id": 4, "do": "resources"}                                  the resources, and the forms of their URIs
    {"id": 5, "do": "read", "uri": ..}                            a resource
    {"id": 6, "do": "prompts"}                                    the prompts
    {"id": 7, "do": "prompt", "name": .., "arguments": {..}}      a prompt

The end of the commands ends the session.
"""

import json
import sys

import anyio
from mcp import Client, MCPError, StdioServerParameters


def say(id, **what):
    print(json.dumps({"id": id, **what}), flush=True)


def as_json(model):
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)


async def perform(client, command, calls):
    id = command["id"]
    try:
        match command["do"]:
            case "list":
                say(id, result=as_json(await client.list_tools()))
            case "call":

                async def progress(progress, total, message):
                    say(id, progress=[progress, total, message])

                with anyio.CancelScope() as scope:
                    calls[id] = scope
                    result = await client.call_tool(command["tool"], command.get("arguments"), progress_callback=progress)
                    say(id, result=as_json(result))
                if scope.cancelled_caught:
                    say(id, cancelled=True)
            case "resources":
                listed, forms = await client.list_resources(), await client.list_resource_templates()
                say(id, result={**as_json(listed), **as_json(forms)})
            case "read":
                say(id, result=as_json(await client.read_resource(command["uri"])))
            case "prompts":
                say(id, result=as_json(await client.list_prompts()))
            case "prompt":
                say(id, result=as_json(await client.get_prompt(command["name"], command.get("arguments"))))
            case "cancel":
                calls[command["call"]].cancel()
                say(id, result={})
    except MCPError as error:
        say(id, error=str(error))
    except Exception as error:  # such as an answer that does not keep to its schema
        say(id, error=f"{type(error).__name__}: {error}")


async def main(mode, program, *arguments):
    server = StdioServerParameters(command=program, args=list(arguments))
    async with Client(server, mode=mode) as client:
        say(0, result={
            "server": as_json(client.server_info),
            "instructions": client.instructions,
            "capabilities": as_json(client.server_capabilities),
            "version": client.protocol_version,
        })
        calls = {}
        async with anyio.create_task_group() as tasks:
            async for line in anyio.wrap_file(sys.stdin):
                tasks.start_soon(perform, client, json.loads(line), calls)


anyio.run(main, *sys.argv[1:])
