"""A page that lies is found out: each kind of snippet, and each word about one."""

from __future__ import annotations

import pytest

from tests.docs.blocks import Unreadable, blocks
from tests.docs.following import ReferenceClient
from tests.docs.processes import SnippetFailed

LIES = {
    "a kind that nobody knows": ("```brainfuck\n+\n```\n", "nobody knows how to run"),
    "a reason that is none": ("<!-- snippet: skip tired -->\n```sh\nexit 1\n```\n", "no reason to skip"),
    "a test that is not there": (
        "<!-- snippet: skip elsewhere tests/no.py -->\n```sh\ntrue\n```\n",
        "no tests/no.py",
    ),
    "Python that raises": ("\n```python\n1 / 0\n```\n", 'File "snippet", line 3'),
    "Python that exits": ("```python\nraise SystemExit\n```\n", "SystemExit"),
    "a file that raises": ('```python title="app.py"\nnowhere\n```\n', "name 'nowhere' is not defined"),
    "SQL that fails": ("```sql\nselect nowhere\n```\n", 'column "nowhere" does not exist'),
    "a command that fails": ("```sh\ntrue\nfalse\ntrue\n```\n", "exit status 1"),
    "a server that ends": ("```sh\nflowcraft serve nowhere:realtime\n```\n", "module nowhere is neither in"),
    "another output": ("```console\n$ echo heads\ntails\n```\n", "and not\ntails"),
    "silence": ('<!-- snippet: until "noise" -->\n```sh\necho silence\n```\n', "ended without 'noise'"),
    "TypeScript that is none": ('```ts\nconst n: number = "1";\n```\n', "not assignable to type 'number'"),
    "a channel that is not declared": (
        "```ts\nimport type * as r from '@flowcraft/realtime';\nconst c: r.ChannelName = 'nope';\n```\n",
        "'\"nope\"' is not assignable",
    ),
    "JavaScript that is none": ("```js\nconst = 1;\n```\n", "SyntaxError"),
    "JSON that is none": ("```json\n{'a': 1}\n```\n", "Expecting property name"),
    "a failure that works": (
        '<!-- snippet: fails "zebra" -->\n```python\n1\n```\n',
        "should fail with 'zebra', and works",
    ),
    "another failure": (
        '<!-- snippet: fails "zebra" -->\n```sql\nselect nowhere\n```\n',
        "but not with 'zebra'",
    ),
}


def follow(page: str, follower: ReferenceClient) -> None:
    for block in blocks(page):
        follower.follow(block)
    follower.finish()


@pytest.mark.parametrize(("page", "told"), LIES.values(), ids=LIES)
def test_a_lie_is_found_out(page: str, told: str, follower: ReferenceClient) -> None:
    with pytest.raises(SnippetFailed) as caught:
        follow(page, follower)
    assert told in str(caught.value)


TRUTHS = """
<!-- snippet: sql
create table runs (id int);
-->
```sql
insert into runs values (1);
```

```python title="app.py"
from flowcraft import Channels, Event
class Note(Event):
    text: str
channels = Channels()
system = channels.declare("system", Note)
```

<!-- snippet: before
import asyncpg, os
-->
```python
connection = await asyncpg.connect("postgresql://localhost/app")
assert await connection.fetchval("select id from runs") == 1
await connection.close()
```

- Code in a list:

    ```console
    $ flowcraft channel list app:channels
    …
    system…exactly once…
    ```

<!-- snippet: fails "'nope'" -->
```python
channels.resolve("nope")
```

<!-- snippet: before
import { createClient } from "@flowcraft/realtime";
-->
```ts
createClient().subscribe("system", (note) => note.text.length);
```

<!-- snippet: fails "Property 'texte' does not exist" -->
```ts
import { createClient } from "@flowcraft/realtime";
createClient().subscribe("system", (note) => note.texte);
```
"""


def test_the_truth_passes(follower: ReferenceClient) -> None:
    follow(TRUTHS, follower)


@pytest.mark.parametrize(
    ("page", "told"),
    [
        ("text\n\n    flowcraft serve\n", "line 3: code by indentation"),
        ("```\nwhat is this\n```\n", "line 1: a block without a kind"),
        ("```sh\ntrue\n", "line 1: a fence that is not closed"),
        ("<!-- snippet: skip docker -->\n\nno block\n", "line 3: a comment `snippet: skip` without a block"),
        ("<!-- snippet: ignore -->\n```sh\n```\n", "`snippet: ignore` is neither"),
    ],
)
def test_a_page_that_cannot_be_read_says_where_and_why(page: str, told: str) -> None:
    with pytest.raises(Unreadable) as caught:
        list(blocks(page))
    assert told in str(caught.value)
