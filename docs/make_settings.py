"""Writes docs/reference/settings.md from the settings classes: `python docs/make_settings.py`. A test compares the
two.
"""

from __future__ import annotations

import json
from pathlib import Path
from textwrap import fill
from typing import Any, get_origin

import attrs

from taba.settings import AgentSettings, DatabaseSettings, DoubleAgentSettings, ServerSettings
from taba.settings.environment import OF_PROGRAMS, OF_TESTS, OTHER_PREFIXES
from taba.settings.fields import MIB, MOST, key_of
from taba.settings.values import NAMES, wanted_of

INTRODUCTION = """# Settings

What is not said stays as it is by default. Everything else is said in up to three places, each of which overrides the
one before it, key by key:

1. **A settings file**: `twistd taba-server --config FILE`, `taba-server FILE`, `twistd taba-agent --config FILE`,
   `taba-agent FILE`. It holds a JSON object, as the original's files do, which work unchanged; or TOML, when its name
   ends in `.toml`.
2. **The environment**: `TABA_` and the key, so `TABA_BASE_PORT=8301`; for a key in a section `TABA_`, section, two
   underscores, key: `TABA_DB_SETTINGS__NUM_VBUCKETS=64`. Texts stand as they are, an empty one for null; truth values
   are `true` or `false` (or `yes`, `no`, `on`, `off`, `1`, `0`); lists and objects are JSON. A section as a whole
   (`TABA_DB_SETTINGS='{"USE_MEMORY_DB": true}'`) takes the place of what the file says of that section.
3. **Options** of the command line; `twistd taba-server --help` lists them.

A key that does not exist is an error that names the nearest one, a value that cannot be used is one that says where it
stands and why; nothing starts then. That holds for the environment, too: a variable whose name begins with `TABA_` has
to be a setting. Passed over are the settings of the other program, so that server and agent may share a file of
variables, and

* of `taba-cli` and clients: @PROGRAMS@; but `TABA_TOKEN_FILE` means the same to all of them, servers and agents among
  them;
* of the tests: @TESTS@;
* all names that begin with @PREFIXES@.

`--check-config` reads the settings, prints each one that is in force, with the file, variable or option that it came
from when it is not the default, and exits: with status 0 when all is in order, else with the mistake. Passwords are not
printed. Keys of the original that mean nothing here are accepted, and said, there and in the log of every start.

Times are in seconds and sizes in bytes unless the table says otherwise.

Without a settings file a server keeps its data in `taba-data/` and opens an agent's port (8279) beside its own (8300).
With one it opens no agent's port unless EMBEDDED_AGENT is true, and posts its own events to `localhost:AGENT_PORT`.
`/post` on a server goes to an agent inside the process, whose spool is `DATA_DIR/spool`.

Everything listens on loopback; [many-hosts.md](../guide/many-hosts.md) says how to listen for other hosts safely.

This page is made by `docs/make_settings.py`.
"""

FULL = """
### When logs are full, or late

`QUEUE_THROTTLE_CAPACITY` and `QUEUE_CAPACITY` are about the logs of one shard (of the whole store, where there are no
shards). Up to the first, everything is taken; above the second, nothing. Between them an fe refuses requests by chance,
with a probability that rises in a straight line from 0 to 1, so that agents slow down together. A request that is only
for refused shards is answered 503 with Retry-After; one that is for others, too, is taken for these. Nothing is lost:
agents keep what they hold.

Just so from `QUEUE_THROTTLE_SECONDS` that a batch would have to wait in its vbucket's log to twice as many, while that
is folded: what is taken faster than it can be folded would only make everything later. A log that nobody folds, because
no be runs, or its own has just died, takes what fits in; the others of its shard go on.

### Memory

`SERVER_MEMORY_BYTES` is for the whole process, as the system counts it (resident). An idle one has 80 MiB; of the
rest a third is for States (`STATE_CACHE_BYTES`, when it is given, counts in place of that third), an eighth for what
be has read and not written yet, an eighth for requests of agents, which get 503 with Retry-After beyond, a fifth for
the agent inside, and what is left for queries and all that is on its way. A be that folds many States, some 1 KB
each, wants more: what is not in memory is read again for every checkpoint that changes it. What does not count: the
names of all tabs of its vbuckets, some 110 bytes each, and the answer to a query for one tab of very many clients.

### What is not taken

`NAME_BLACKLIST` and `CLIENT_BLACKLIST` are matched as the original matched them: at the start, so that `debug_` stands
for all names that begin with it; put `$` at the end for a whole name. be refuses the events, in the order of the log,
and counts them in the ledger line `refused.blacklisted`. What was folded before a pattern was added stays until it is
deleted. A pattern that RE2 does not take keeps the server from starting.
"""

DOUBLE = """
Everything that the agent takes is copied to a second spool, and goes from there to the second set of servers, which may
be a cluster of its own: exactly once on both ways, for clients that number their batches. A request is answered when it
is durable in both spools. The servers behind the second one may be away for as long as its spool has room
(`SPOOL_MAX_BYTES` for each); token and certificates are those of the agent. When it is full, or its disk fails, the
first one goes on alone, and says so in its log, and, event by event, in its ledger: `double.missed` counts what the
second spool lacks, and `double.uncertain` what was answered while its disk kept it waiting for more than 5 s: that is
there, unless the process ended before it was written. `/status` and `/metrics` show the account of both.

A process that is killed between both commits leaves a batch in one spool only. Its client got no answer and sends it
again; the spool that has it sees a duplicate, the other one takes it.
"""

MORE = """
### More than servers can do

An agent holds what servers do not take: while they are away, whatever `SPOOL_MAX_BYTES` and the disk have room for.
Servers that are there, but take less than clients send, would only get further and further behind, and everybody who
looks at numbers with them; so an agent lets no more gather than they take in `BACKLOG_SECONDS` (1 MiB at least), and
answers 503 with Retry-After beyond that; clients keep their own buffers, and count what they have to drop. What has
gathered while servers were away is sent beside what comes, and nothing is refused for it as long as they are faster
than clients. Where one shard of several is away, only what the others do not take counts; what waits for the one that
is away is bounded by `SPOOL_MAX_BYTES`, as while all are away.

`AGENT_MEMORY_BYTES` is for the whole process, as the system counts it (resident). An idle one has 72 MiB; two fifths
of the rest are for events that are coming in or not on disk yet, an eighth each for what is not sealed and what is
not sent yet (more of that is read from the spool). With DOUBLE_AGENT both halves share it.
"""

LOGS = """
## The log

Both programs log where twistd says: to standard output with `-n`, to the file of `--logfile`, as a daemon to
`twistd.log` (a file is closed at 1 MB, or when SIGUSR1 comes, and a new one begun). With `--syslog` or `--logger` they
leave it to twistd, and what follows does not apply.

`LOG_FORMAT` or `--log-format` chooses `text` or `json`. JSON is one object per line:

```json
{"time": "2026-05-04T12:30:00.123Z", "level": "warn", "namespace": "taba.agent.forwarder.Forwarder",
 "message": "A server does not answer: http://127.0.0.1:8300", "pid": 4711, "fields": {"sentence": "..."}}
```

(here on two). `level` is debug, info, warn, error or critical; `fields` has the facts of the message by name; an error
inside Taba has its `traceback`. What twistd prints before it starts, such as a mistake in the settings, is text.

The same message is written 20 times a second at most, whatever facts it has; then one line says how many more there
were. Lines of level debug are written with `DEBUG` only.
"""

EXAMPLES: tuple[tuple[str, dict[str, Any]], ...] = (
    (
        "A server of a fleet",
        {
            "INTERFACE": "10.0.0.1",
            "TOKEN_FILE": "/etc/taba/token",
            "NAME_BLACKLIST": ["debug_"],
            "LOG_FORMAT": "json",
            "DB_SETTINGS": {
                "SENTINELS": [["10.0.0.1", 26379], ["10.0.0.2", 26379], ["10.0.0.3", 26379]],
                "SHARDS": [{"shard_name": "shard1", "vbuckets": [0, 127]}],
            },
        },
    ),
    (
        "An agent with a copy to another cluster",
        {
            "SERVER_ENDPOINTS": ["http://10.0.0.1:8300", "http://10.0.0.2:8300"],
            "SPOOL_DIR": "/var/lib/taba/spool",
            "DOUBLE_AGENT": {"SERVER_ENDPOINTS": ["http://10.1.0.1:8300"]},
        },
    ),
)


def number(value: float, unit: str = "") -> str:
    """A number for people: sizes in MiB where they are whole ones."""
    if unit == "bytes" and value >= MIB and value % MIB == 0:
        return f"{int(value) // MIB} MiB"
    return f"{value:g}" if value < MIB else str(value)


def allowed(kind: Any, each: Any) -> str:
    """Unit and range of a field, or what it is."""
    about, wanted = each.metadata, wanted_of(kind, each)
    if about.get("among"):
        return " or ".join(about["among"])
    what = "a list" if get_origin(wanted) is tuple else NAMES.get(wanted, "an object")
    words = [about.get("unit") or what.replace("string", "text")]
    least, most = about.get("least"), about.get("most", MOST)
    if least is not None:
        words.append(f", from {number(least, about['unit'])}" + (f" to {number(most)}" if most < MOST else ""))
    return "".join(words)


def default(each: Any) -> str:
    """A field's default, as JSON."""
    value = each.default
    if isinstance(value, attrs.Factory):  # type: ignore[arg-type]
        value = value.factory()
    if each.metadata.get("section") and value is not None:
        return "see below"
    shown = json.dumps(value, default=attrs.asdict)
    if each.metadata.get("unit") != "bytes" or value is None:
        return f"`{shown}`"
    return f"`{shown}` ({number(value, 'bytes')})"


def table(kind: Any) -> list[str]:
    """The rows of a settings class."""
    lines = ["| key | meaning | allowed | default |", "| --- | --- | --- | --- |"]
    for each in attrs.fields(kind):
        lines.append(f"| `{key_of(each)}` | {each.metadata['meaning']} | {allowed(kind, each)} | {default(each)} |")
    return lines


def as_json(settings: dict[str, Any]) -> str:
    """A settings file in JSON, a line for each key."""

    def lines(given: dict[str, Any], indent: str) -> str:
        rows = []
        for key, each in given.items():
            value = lines(each, indent + "    ") if isinstance(each, dict) else json.dumps(each)
            rows.append(f"{indent}{json.dumps(key)}: {value}")
        return "{\n" + ",\n".join(rows) + f"\n{indent[4:]}}}"

    return lines(settings, "    ")


def in_toml(value: Any) -> str:
    """A value, as JSON has it, in TOML on one line."""
    if isinstance(value, dict):
        pairs = ", ".join(f"{key} = {in_toml(each)}" for key, each in value.items())
        return f"{{{pairs}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(in_toml, value))}]"
    return json.dumps(value)


def as_toml(settings: dict[str, Any]) -> str:
    """A settings file in TOML; sections are tables."""
    lines = [f"{key} = {in_toml(value)}" for key, value in settings.items() if not isinstance(value, dict)]
    for key, value in settings.items():
        if isinstance(value, dict):
            lines += ["", f"[{key}]", *(f"{inner} = {in_toml(each)}" for inner, each in value.items())]
    return "\n".join(lines) + "\n"


def as_environment(settings: dict[str, Any], prefix: str = "TABA_", sections: bool = True) -> dict[str, str]:
    """The same as variables of the environment."""
    variables: dict[str, str] = {}
    for key, value in settings.items():
        if isinstance(value, dict) and sections:
            variables |= as_environment(value, f"{prefix}{key}__", sections=False)
        else:
            variables[prefix + key] = value if isinstance(value, str) else json.dumps(value)
    return variables


def exported(variables: dict[str, str]) -> list[str]:
    """Lines for a shell."""
    return [f"export {name}={quoted(value)}" for name, value in variables.items()]


def quoted(value: str) -> str:
    """A value in quotes where a shell wants them."""
    return value if value.replace("/", "").replace(".", "").replace("_", "").isalnum() else f"'{value}'"


def examples(kind: Any, prefix: str = "TABA_") -> list[str]:
    """Lists and objects of a settings class in their three forms."""
    lines = []
    for each in attrs.fields(kind):
        example, key = each.metadata.get("example"), key_of(each)
        if example is not None:
            lines += [f'"{key}": {json.dumps(example)}', f"{key} = {in_toml(example)}"]
            lines += [f"{prefix}{key}='{json.dumps(example)}'", ""]
    return ["", "Lists and objects, as JSON, TOML and in the environment:", "", "```text", *lines[:-1], "```"]


def whole_examples() -> list[str]:
    """The EXAMPLES in their three forms."""
    lines = ["## Examples", ""]
    for title, settings in EXAMPLES:
        lines += [f"### {title}", "", "```json", as_json(settings), "```", "", "or, in TOML,", ""]
        lines += ["```toml", as_toml(settings).rstrip(), "```", "", "or in the environment", ""]
        lines += ["```sh", *exported(as_environment(settings)), "```", ""]
    return lines


def introduction() -> str:
    """The first part, with the names that are no settings."""
    words = {
        "@PROGRAMS@": ", ".join(f"`TABA_{each}`" for each in OF_PROGRAMS),
        "@TESTS@": ", ".join(f"`TABA_{each}`" for each in OF_TESTS),
        "@PREFIXES@": ", ".join(f"`TABA_{each}`" for each in OTHER_PREFIXES),
    }
    lines = []
    for line in INTRODUCTION.split("\n"):
        changed = line
        for mark, names in words.items():
            changed = changed.replace(mark, names)
        lines.append(line if changed == line else fill(changed, 118, subsequent_indent="  "))
    return "\n".join(lines)


def page() -> str:
    """The whole page."""
    sections = [introduction(), "## Server", "", *table(ServerSettings), *examples(ServerSettings), FULL]
    sections += ["### DB_SETTINGS", "", *table(DatabaseSettings), *examples(DatabaseSettings, "TABA_DB_SETTINGS__"), ""]
    sections += ["[redis.md](../guide/redis.md) says how to set up Redis and its Sentinels.", ""]
    sections += ["## Agent", "", *table(AgentSettings), *examples(AgentSettings), *MORE.splitlines(), ""]
    sections += ["### DOUBLE_AGENT", "", *table(DoubleAgentSettings), DOUBLE.rstrip(), LOGS, *whole_examples()]
    return "\n".join(sections).rstrip() + "\n"


if __name__ == "__main__":
    (Path(__file__).parent / "reference" / "settings.md").write_text(page(), encoding="utf-8")
