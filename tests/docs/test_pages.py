"""The pages of docs/ are whole: links lead somewhere, JSON is JSON, programs are Python; and their reader reads
right.
"""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.docs.pages import commands, examples, links, prints

REPOSITORY = Path(__file__).resolve().parent.parent.parent
PAGES = [*sorted((REPOSITORY / "docs").rglob("*.md")), REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md"]


def anchor(heading: str) -> str:
    """The name under which GitHub and Sphinx know a heading."""
    return re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower()).strip().replace(" ", "-")


class PageTests(SynchronousTestCase):
    """What can be said of all pages without running anything."""

    def test_links_lead_somewhere(self) -> None:
        """No link of a page is dead, and no anchor."""
        for page in PAGES:
            for line, link in links(page.read_text(encoding="utf-8")):
                path, _, name = link.partition("#")
                target = (page.parent / path).resolve() if path else page
                where = f"{page.relative_to(REPOSITORY)}:{line}: {link}"
                self.assertTrue(target.exists(), where)
                if name:
                    headings = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
                    self.assertIn(name, [anchor(heading) for heading in headings], where)

    def test_examples_can_be_read(self) -> None:
        """What a page shows as JSON, TOML or Python is that."""
        for page in PAGES:
            for example in examples(page.read_text(encoding="utf-8")):
                where = f"{page.relative_to(REPOSITORY)}:{example.line}"
                if example.told.startswith("not run"):
                    continue
                try:
                    if example.language == "json":
                        json.loads(example.text)
                    elif example.language == "toml":
                        tomllib.loads(example.text)
                    elif example.language == "python":
                        compile(example.text, where, "exec", 0x2000)  # `await` may stand outside of functions
                except (ValueError, SyntaxError) as problem:
                    self.fail(f"{where}: {problem}")

    def test_every_page_of_the_guide_is_in_the_index(self) -> None:
        """Who reads the built pages finds all of them."""
        index = (REPOSITORY / "docs" / "index.md").read_text(encoding="utf-8")
        for folder in ("guide", "reference"):
            for page in (REPOSITORY / "docs" / folder).glob("*.md"):
                self.assertIn(f"\n{folder}/{page.stem}\n", index)

    def test_every_guarantee_has_its_test(self) -> None:
        """Each proof that the guarantees name is a test that there is."""
        page = (REPOSITORY / "docs" / "guide" / "guarantees.md").read_text(encoding="utf-8")
        proofs = re.findall(r"`(tests\.[\w.]+)`", page)
        self.assertGreater(len(proofs), 30)
        for proof in proofs:
            parts = proof.split(".")
            lowered = [part for part in parts if part.islower()]
            module = lowered if len(lowered) == len(parts) else parts[: len(parts) - 2]
            path = REPOSITORY.joinpath(*module).with_suffix(".py")
            self.assertTrue(path.exists(), proof)
            if module != parts:
                text = path.read_text(encoding="utf-8")
                self.assertRegex(text, rf"\bclass {parts[-2]}\b(.|\n)*\bdef {parts[-1]}\(", proof)

    def test_reading_of_pages(self) -> None:
        """Blocks are found with what they are told; a comment speaks of the next block only."""
        page = "# A\n\n<!-- example: continues -->\n```python\na = 1\n```\n\n```sh\nls\n```\n```console\n$ x\ny\n```\n"
        found = list(examples(page))
        self.assertEqual([(each.language, each.told, each.line) for each in found],
                         [("python", "continues", 4), ("sh", "", 8), ("console", "", 11)])
        self.assertEqual([each.runs for each in found], [True, False, True])
        self.assertRaises(ValueError, list, examples("```python\n"))
        self.assertRaises(ValueError, list, examples("<!-- example: whatever -->\n"))

    def test_reading_of_transcripts(self) -> None:
        """A transcript is commands with what each prints, where dots stand for anything."""
        transcript = "$ a \\\n> b\n1\n2\n$ c\n"
        self.assertEqual(list(commands(transcript)), [("a \\\nb", "1\n2"), ("c", "")])
        self.assertTrue(prints("x: {...}\n", "x: {1,\n 2}\n"))
        self.assertFalse(prints("x", "x y"))
        self.assertTrue(prints("", "\n"))
