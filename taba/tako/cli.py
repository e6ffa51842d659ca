"""`tako-cli`: migrations from one deployment to another, planned, watched, proved and completed or taken back; and a
look at a cluster.

    tako-cli migrate plan     -cfg FILE TARGET       what would move
    tako-cli migrate begin    -cfg FILE TARGET       make TARGET the target deployment
    tako-cli migrate status   -cfg FILE              how far it is
    tako-cli migrate promote  -cfg FILE              prove it, then make the target the active deployment
    tako-cli migrate rollback -cfg FILE              make the active deployment the target again
    tako-cli status URL

FILE is the file that the master coordinator reads: the commands change `active_deployment` and `target_deployment` in
it, and nothing else, and then let the coordinator read it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import click
from attrs import define, evolve

from taba.cli.server import Fetch, Question, Unreachable, fetch
from taba.errors import SettingsError
from taba.tako.configuration import Configuration
from taba.tako.migration import Finding, Proof, Tree, plan, read_tree
from taba.tako.reading import read_object, read_text
from taba.tako.records import SLOTS

ASK_SECONDS = 30.0


def change_deployments(text: str, active: str, target: str) -> str:
    """A configuration's text with other deployments in force, and every other character as it was. ValueError where the
    text cannot be changed line by line.
    """
    for name, value in (("active_deployment", active), ("target_deployment", target)):
        where = rf"""(^[ \t]*|[{{,]\s*)(["']?){name}["']?(\s*:\s*)(["']?)[A-Za-z0-9_.-]+["']?"""
        changed, count = re.subn(where, rf"\g<1>\g<2>{name}\g<2>\g<3>\g<4>{value}\g<4>", text, flags=re.MULTILINE)
        if count == 0 and name == "target_deployment":
            changed, count = _insert_target(text, target)
        if count != 1:
            raise ValueError(f"{name} stands {count} times in the file; change it by hand")
        text = changed
    return text


def _insert_target(text: str, target: str) -> tuple[str, int]:
    """The text with a `target_deployment` before the active one."""
    where = r"""(^[ \t]*|[{,]\s*)(["']?)active_deployment["']?\s*:"""
    found = re.search(where, text, re.MULTILINE)
    if found is None:
        return text, 0
    quote, at = found.group(2), found.end(1)
    between = ", " if quote else "\n" + found.group(1)
    value = f'"{target}"' if quote == '"' else target
    return f"{text[:at]}{quote}target_deployment{quote}: {value}{between}{text[at:]}", 1


@define
class Cluster:
    """A cluster as its operator sees it: the file, and HTTP."""

    path: Path
    token: str | None
    say: Callable[[str], None]
    fetch: Fetch = fetch
    """How HTTP is asked."""

    def configuration(self) -> Configuration:
        """What the file says."""
        try:
            return read_text(self.path.read_text(encoding="utf-8"), str(self.path))
        except OSError as problem:
            fail(f"{self.path} cannot be read: {problem.strerror}")
        except SettingsError as problem:
            fail(str(problem))

    def ask(self, url: str, method: str = "GET") -> Any:
        """The JSON of an answer; Unreachable when there is none."""
        reply = self.fetch(Question(url, "application/json", ASK_SECONDS, self.token, None, method))
        if reply.status != 200:
            raise Unreachable(f"{reply.status} {reply.text.strip()[:300]}")
        return json.loads(reply.text)

    def master(self, configuration: Configuration) -> str:
        """The URL of the coordinator that reads the file."""
        names = configuration.coordinators
        name = configuration.master_coordinator or next(iter(names), None)
        if name is None:
            fail("The configuration has no coordinator: change the file by hand, and restart the nodes.")
        host, port = names[name]
        return f"http://{host}:{port}"

    def served(self) -> Configuration:
        """What the coordinator hands out."""
        url = f"{self.master(self.configuration())}/configuration"
        try:
            return read_object(self.ask(url), url)
        except Unreachable as problem:
            fail(f"{url}: {problem}")

    def change(self, active: str, target: str) -> None:
        """Write other deployments to the file, and let the coordinator read it."""
        configuration = self.configuration()
        old = self.path.read_text(encoding="utf-8")
        try:
            new = change_deployments(old, active, target)
        except ValueError as problem:
            fail(str(problem))
        wanted = evolve(configuration, active_deployment=active, target_deployment=target)
        if read_text(new, str(self.path)) != wanted:
            fail(f"{self.path} cannot be changed line by line; change it by hand, and let the coordinator read it.")
        replace_text(self.path, new)
        url = f"{self.master(configuration)}/reload"
        try:
            answer = self.ask(url, "POST")
        except Unreachable as problem:
            fail(f"{self.path} is changed, but the coordinator does not read it ({url}: {problem}). Send it SIGUSR1.")
        self.say(f"Configuration {answer['version']}: active {active}, target {target}.")

    def trees(self, configuration: Configuration, names: list[str]) -> tuple[dict[str, Tree], dict[str, str]]:
        """The trees of nodes, and of those that do not answer why."""
        addresses, trees, away = configuration.nodes(), {}, {}
        for name in names:
            address = addresses[name]
            try:
                trees[name] = read_tree(self.ask(f"http://{address.host}:{address.http_port}/tree"))
            except Unreachable as problem:
                away[name] = str(problem)
            except (ValueError, KeyError, TypeError) as problem:
                away[name] = f"its answer is no tree: {problem}"
        return trees, away

    def start_healing(self, configuration: Configuration, name: str) -> None:
        """Let a node run a cycle now, and wait for its end."""
        address = configuration.nodes()[name]
        try:
            self.ask(f"http://{address.host}:{address.http_port}/heal", "POST")
        except (Unreachable, ValueError) as problem:
            self.say(f"{name} does not heal: {problem}")


def replace_text(path: Path, text: str) -> None:
    """Give a file another text, durably and at once, with its permissions as they were; a link stays one."""
    path = path.resolve()
    replacement = path.with_name(path.name + ".new")
    with open(replacement, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    shutil.copymode(path, replacement)
    os.replace(replacement, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def fail(problem: str) -> NoReturn:
    """Tell what is wrong, and end with status 1."""
    click.echo(problem, err=True)
    raise SystemExit(1)


def show(finding: Finding, say: Callable[[str], None]) -> None:
    """A finding as text."""
    say(f"{finding.proved} of {SLOTS} slots proved ({finding.proved / SLOTS:.1%}).")
    for problem in finding.problems:
        say(f"  {problem}")
    for node, count in sorted(finding.differing.items()):
        say(f"  {node}: {count} slots differ")


# ------------------------------------------------------------------------------------------------------------ commands


@click.group(help=__doc__ and __doc__.split("\n\n")[0], context_settings={"max_content_width": 120})
def main() -> None:
    """The console script."""


@main.group()
def migrate() -> None:
    """Move all keys from one deployment to another."""


_cfg = click.option("--cfg", "path", required=True, type=click.Path(path_type=Path), help="The coordinator's file.")
_token = click.option("--token-file", type=click.Path(path_type=Path), help="File of the shared token.")


def _cluster(path: Path, token_file: Path | None) -> Cluster:
    token = None
    if token_file is not None:
        from taba.client.token import TokenError, read_tokens

        try:
            token = read_tokens(str(token_file))[0]
        except TokenError as problem:
            fail(str(problem))
    return Cluster(path, token, click.echo, click.get_current_context().obj or fetch)


@migrate.command("plan")
@_cfg
@_token
@click.argument("target")
def plan_command(path: Path, token_file: Path | None, target: str) -> None:
    """What a migration to TARGET would move."""
    _show_plan(_cluster(path, token_file), target)


def _show_plan(cluster: Cluster, target: str) -> None:
    configuration = cluster.configuration()
    if target not in configuration.deployments:
        fail(f"There is no deployment {target}; there are {', '.join(configuration.deployments)}.")
    planned = plan(evolve(configuration, target_deployment=target))
    cluster.say(f"{configuration.active_deployment} -> {target}: {planned.moving:.1%} of all keys get another node.")
    for node in sorted({*planned.gains, *planned.losses}):
        gain, loss = planned.gains.get(node, 0.0), planned.losses.get(node, 0.0)
        cluster.say(f"  {node}: gets {gain:.1%}, hands over {loss:.1%} of all keys")


@migrate.command()
@_cfg
@_token
@click.argument("target")
def begin(path: Path, token_file: Path | None, target: str) -> None:
    """Make TARGET the target deployment: writes go to both from now on, and nodes copy what is there."""
    cluster = _cluster(path, token_file)
    configuration = cluster.configuration()
    if configuration.migrating and configuration.target_deployment != target:
        fail(f"A migration to {configuration.target_deployment} is under way: complete it, or roll it back.")
    _show_plan(cluster, target)
    cluster.change(configuration.active_deployment, target)


@migrate.command()
@_cfg
@_token
def status(path: Path, token_file: Path | None) -> None:
    """How far the migration is: one look at the trees of all nodes, and their healing."""
    cluster = _cluster(path, token_file)
    configuration = cluster.served()
    if not configuration.migrating:
        cluster.say(f"No migration is under way; {configuration.active_deployment} is active.")
        return
    cluster.say(f"{configuration.active_deployment} -> {configuration.target_deployment}")
    proof = Proof(configuration)
    show(proof.look(*cluster.trees(configuration, proof.nodes())), cluster.say)
    for name in proof.nodes():
        address = configuration.nodes()[name]
        try:
            healing = cluster.ask(f"http://{address.host}:{address.http_port}/status")["healing"]
        except (Unreachable, ValueError, KeyError):
            continue
        cluster.say(
            f"  {name}: healing {healing['done']:.0%}, {healing['seconds_left']:.0f} s left, sent {healing['sent']}, "
            f"fetched {healing['fetched']}"
        )


@migrate.command()
@_cfg
@_token
@click.option("--wait", default=0.0, help="Seconds to wait for the proof; nodes are let heal meanwhile.")
def promote(path: Path, token_file: Path | None, wait: float) -> None:
    """Make the target the active deployment, once the trees of all nodes prove that it has everything."""
    cluster = _cluster(path, token_file)
    configuration = cluster.served()
    if not configuration.migrating:
        fail("No migration is under way.")
    finding = prove(cluster, Proof(configuration), wait)
    show(finding, cluster.say)
    if not finding.complete:
        fail("Not promoted: the trees are not equal yet. Try again later, or with --wait SECONDS.")
    if cluster.served() != configuration:
        fail("Not promoted: the configuration has changed meanwhile.")
    cluster.change(configuration.target_deployment, configuration.target_deployment)


def prove(cluster: Cluster, proof: Proof, wait: float) -> Finding:
    """Look until the proof is complete, or `wait` seconds are over."""
    until = time.monotonic() + wait
    while True:
        finding = proof.look(*cluster.trees(proof.configuration, proof.nodes()))
        if finding.complete or time.monotonic() >= until:
            return finding
        for name in finding.differing:
            cluster.start_healing(proof.configuration, name)
        time.sleep(min(1.0, max(0.0, until - time.monotonic())))


@migrate.command()
@_cfg
@_token
def rollback(path: Path, token_file: Path | None) -> None:
    """Make the active deployment the target again: nodes hand back what they got for the other one."""
    cluster = _cluster(path, token_file)
    configuration = cluster.configuration()
    if not configuration.migrating:
        fail("No migration is under way; to go back after a promotion, begin one to the former deployment.")
    cluster.change(configuration.active_deployment, configuration.active_deployment)


@main.command("status")
@_token
@click.argument("url")
def show_status(token_file: Path | None, url: str) -> None:
    """The /status of a node, proxy or coordinator."""
    cluster = _cluster(Path(), token_file)
    try:
        facts: Mapping[str, Any] = cluster.ask(f"{url.rstrip('/')}/status")
    except (Unreachable, ValueError) as problem:
        fail(f"{url}: {problem}")
    cluster.say(json.dumps(facts, indent=2))


def run() -> None:
    """The console script: takes -cfg, as the other commands do."""
    main(args=["--cfg" if word == "-cfg" else word for word in sys.argv[1:]], prog_name="tako-cli")
