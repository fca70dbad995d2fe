#!/usr/bin/env python3
"""Records docs/demo.svg: commands that are typed on a terminal of 80 columns, and what the real program answers.

Run as `docs/record.py PATH-TO-workerheal docs/demo.svg` (`make recording`). Workers, service manager and daemon are
real, in a private sandbox as the tests have it; output, colours and times are the program's own. Only the speed of typing,
and the pauses to read, are made up. Whatever is not as the story says ends the recording with an error.
"""

import codecs
import contextlib
import fcntl
import html
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COLUMNS, ROWS = 80, 28

WORKER = """[Service]
WorkingDirectory=%h/shop
ExecStart=%h/shop/{name}
[Install]
WantedBy=default.target
"""
# A worker that needs a database, and says so when it ends without.
SCRIPT = """#!/bin/sh
exec 2>&1
test -e database || {{ echo "cannot connect to the database: connection refused"; exit 1; }}
exec -a {name} sleep infinity
"""
CONFIG = """also_watch: [bot.service, mailer.service, images.service]
heal: {stable_after: 2s, backoff: {initial: 20s, jitter: 0}}
"""


class Step:
    """A command that is typed and run, or a remark (a comment of the shell) that is only typed."""

    def __init__(self, typed, expected="", wait="", read=1.5):
        self.typed = typed
        self.expected = expected  # what its output has to contain
        self.wait = wait  # a shell command that has to succeed before it is typed, tried for 20 s
        self.read = read  # seconds to read its output


def has(event, unit):
    return f"workerheal events {unit} --json | grep -q '\"phase\":\"{event}\"'"


SCENES = [
    [
        Step("kill -9 $(pidof bot)", read=0.6),
        Step("workerheal status", "bot", read=2.5),
        Step("workerheal events bot", "healed", wait=has("healed", "bot"), read=5),
    ],
    [
        Step("# its database is down", read=0.5),
        Step("mv shop/database /tmp && kill -9 $(pidof mailer)", read=0.6),
        Step("workerheal explain mailer", "connection refused", wait=has("scheduled", "mailer"), read=7),
    ],
    [
        Step("# the database is back", read=0.5),
        Step("mv /tmp/database shop && workerheal heal mailer", "healed", read=2.5),
        Step("# and what you stop stays stopped", read=0.5),
        Step("workerheal stop images", read=1.5),
        Step("workerheal status", "you stopped it", read=6),
    ],
]


class Sandbox:
    """A private service manager: tests/sandbox has the scripts."""

    def __init__(self):
        scripts = ROOT / "tests/sandbox/src"
        outside, inside = ((scripts / name).read_text() for name in ("outside.sh", "inside.sh"))
        self.owner = subprocess.Popen(
            ["sh", "-c", outside, "outside", inside], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        report = self.owner.stdout.readline().split()
        if not report or report[0] != "ready":
            sys.exit("the sandbox does not start, see above")
        self.host, self.home = report[1], Path(report[2])

    def command(self, line):
        enter = ["nsenter", f"--target={self.host}", "--mount", "--pid"]
        if os.geteuid() != 0:
            enter += ["--user", "--preserve-credentials"]
        environment = {
            "HOME": self.home, "XDG_RUNTIME_DIR": "/run/user/0", "LC_ALL": "C.UTF-8", "TERM": "xterm-256color",
            "PATH": f"{self.home}/bin:{os.environ['PATH']}",
        }  # fmt: skip
        settings = [f"{name}={value}" for name, value in environment.items()]
        return [*enter, "env", "-i", *settings, "bash", "-c", f"cd && {line}"]

    def run(self, line):
        return subprocess.run(self.command(line), capture_output=True, text=True, check=False)

    def must(self, line):
        done = self.run(line)
        if done.returncode != 0:
            sys.exit(f"{line}: {done.stdout}{done.stderr}")

    def close(self):
        self.owner.stdin.close()
        self.owner.wait()


def set_the_stage(sandbox, program):
    units = sandbox.home / ".config/systemd/user"
    for directory in (units, sandbox.home / "bin", sandbox.home / "shop", sandbox.home / ".config/workerheal"):
        directory.mkdir(parents=True, exist_ok=True)
    shutil.copy(program, sandbox.home / "bin/workerheal")
    (sandbox.home / "shop/database").touch()
    (sandbox.home / ".config/workerheal/config.yaml").write_text(CONFIG)
    for name in ("bot", "mailer", "images"):
        script = sandbox.home / "shop" / name
        script.write_text(SCRIPT.format(name=name).replace("/bin/sh", "/bin/bash"))
        script.chmod(0o755)
        (units / f"{name}.service").write_text(WORKER.format(name=name))
    service = (ROOT / "packaging/systemd/user/workerheal.service").read_text()
    (units / "workerheal.service").write_text(service.replace("/usr/bin/workerheal", "%h/bin/workerheal"))
    sandbox.must("systemctl --user daemon-reload && systemctl --user enable --now bot mailer images workerheal")


def typed_and_run(sandbox, line):
    """Runs a command on a terminal, and answers with its output as (seconds since its start, text)."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    begin = time.monotonic()
    process = subprocess.Popen(sandbox.command(line), stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    decoder, heard = codecs.getincrementaldecoder("utf-8")(), []
    with contextlib.suppress(OSError):  # the end of a terminal is an error
        while data := os.read(ours, 65536):
            heard.append((time.monotonic() - begin, decoder.decode(data)))
    os.close(ours)
    process.wait()
    return heard


def lines_of(heard):
    """The lines of an output, as [row, begin, end, text]; the end is None for those that stay."""
    text, row, lines = "", 0, []
    for when, more in heard:
        text += more
        # The one thing that progress needs: up by some lines, and all below is cleared.
        while piece := re.match(r"\r?(?:\x1b\[(\d+)A)\r?\x1b\[J|([^\n]*)\n", text):
            text = text[piece.end() :]
            if piece[1]:
                row -= int(piece[1])
                for line in lines:
                    if line[0] >= row and line[2] is None:
                        line[2] = when
            else:
                lines.append([row, when, None, piece[2].rstrip("\r")])
                row += 1
    if text.strip():
        sys.exit(f"output without an end of line: {text!r}")
    return lines


def wait_for(sandbox, condition):
    latest = time.monotonic() + 20
    while sandbox.run(condition).returncode != 0:
        if time.monotonic() > latest:
            sys.exit(f"waited in vain for: {condition}")
        time.sleep(0.1)


def record(sandbox):
    """Plays the scenes, in real time. Answers with them, each with its rows, as (row, kind, begin, end, text), and how
    long all take."""
    start, scenes = time.monotonic() - 0.5, []

    def clock():
        return time.monotonic() - start

    for steps in SCENES:
        begin, rows, row = clock(), [], 0
        for step in steps:
            if step.wait:
                wait_for(sandbox, step.wait)
            keys = 0.045 * len(step.typed)
            rows.append((row, "typed", clock(), clock() + keys, step.typed))
            row += 1
            time.sleep(keys + 0.3)
            if not step.typed.startswith("#"):
                since = clock()
                output = lines_of(typed_and_run(sandbox, step.typed))
                text = "\n".join(line[3] for line in output)
                if step.expected not in text:
                    sys.exit(f"{step.typed}: no {step.expected!r} in\n{text}")
                for at, shown, gone, line in output:
                    rows.append((row + at, "output", since + shown, gone and since + gone, line))
                row += max((line[0] + 2 for line in output), default=0)
            time.sleep(step.read)
        if row > ROWS:
            sys.exit(f"a scene of {row} lines does not fit")
        scenes.append((begin, clock(), rows))
    return scenes, clock()


# The picture.
WIDTH, HEIGHT, LEFT, TOP, BAR = 8.43, 19, 16, 24, 34
STYLE = """
.t{font:14px ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono","Liberation Mono",monospace;fill:#d1d7e0;
white-space:pre}
.p{fill:#3fb950;font-weight:600}.k{fill:#f0f6fc;font-weight:600}.c,.f{fill:#8b949e}.b{font-weight:600}
.g{fill:#3fb950}.r{fill:#ff7b72}.y{fill:#e3b341}.n{fill:#79c0ff}
.a{animation-duration:DURATIONs;animation-iteration-count:infinite;animation-timing-function:step-end}
@media(prefers-reduced-motion:reduce){.a{animation:none}.s{display:none}.s:first-of-type{display:inline}}
"""
COLOURS = {"1": "b", "2": "f", "31": "r", "32": "g", "33": "y", "34": "n", "35": "n", "36": "n"}


def spans(line, classes):
    """A line as SVG, and the colours that are left at its end. Each part has its place: fonts differ in width."""
    parts, column = [], 0
    for piece in re.split(r"(\x1b\[[0-9;]*m)", line):
        if piece.startswith("\x1b["):
            for code in piece[2:-1].split(";"):
                if code in ("", "0"):
                    classes = set()
                elif code in COLOURS:
                    classes = classes | {COLOURS[code]}
                elif code == "39":
                    classes = classes - set("rgyn")
                elif code == "22":
                    classes = classes - set("bf")
                else:
                    sys.exit(f"unknown colour {code} in {line!r}")
            continue
        if "\x1b" in piece:
            sys.exit(f"unknown control sequence in {line!r}")
        for word in re.finditer(r"\S+(?: \S+)*", piece):
            text = html.escape(word.group(), quote=False)
            name = f' class="{" ".join(sorted(classes))}"' if classes else ""
            place, length = column + word.start(), len(word.group())
            parts.append(
                f'<tspan x="{LEFT + place * WIDTH:.1f}" textLength="{length * WIDTH:.1f}"{name}>{text}</tspan>'
            )
        column += len(piece)
    if column > COLUMNS:
        sys.exit(f"a line of {column} columns: {line!r}")
    return "".join(parts), classes


def picture(scenes, length):
    frames, body, clips = [], [], []

    def percent(at):
        return f"{100 * at / length:.2f}%"

    def group(animation, inside):
        return f'<g class="a" style="animation-name:{animation}">{inside}</g>'

    def shown(begin, end=None):
        """The name of an animation that shows something from one time on, until another."""
        name = f"a{len(frames)}"
        until = f"{percent(end)}{{visibility:hidden}}" if end is not None and end < length else ""
        frames.append(f"@keyframes {name}{{0%{{visibility:hidden}}{percent(begin)}{{visibility:visible}}{until}}}")
        return name

    for number, (begin, end, rows) in enumerate(scenes):
        # The first is what is seen where nothing moves.
        begin = 0 if number == 0 else begin
        parts, classes = [], set()
        prompt = f'<tspan x="{LEFT}" class="p">$</tspan>'
        for row, kind, since, until, text in rows:
            y = BAR + TOP + row * HEIGHT
            if kind == "output":
                inside, classes = spans(text, classes)
                if inside:
                    parts.append(group(shown(since, until or end), f'<text class="t" y="{y}">{inside}</text>'))
                continue
            start = since - 0.25 if row else begin
            parts.append(group(shown(start, end), f'<text class="t" y="{y}">{prompt}</text>'))
            # What is typed is uncovered from the left, key by key.
            clip, keys = f"k{len(clips)}", len(text)
            full = keys * WIDTH
            frames.append(
                f"@keyframes {clip}{{0%,{percent(since)}{{transform:translateX(-{full:.1f}px);"
                f"animation-timing-function:steps({keys})}}{percent(until)},100%{{transform:none}}}}"
            )
            left = LEFT + 2 * WIDTH
            clips.append(
                f'<clipPath id="{clip}"><rect class="a" style="animation-name:{clip}" x="{left:.1f}" y="{y - 15}" '
                f'width="{full:.1f}" height="{HEIGHT}"/></clipPath>'
            )
            colour = "c" if text.startswith("#") else "k"
            inside = f'<tspan x="{left:.1f}" textLength="{keys * WIDTH:.1f}">{html.escape(text, quote=False)}</tspan>'
            line = f'<text class="t {colour}" y="{y}" clip-path="url(#{clip})">{inside}</text>'
            parts.append(group(shown(since, end), line))
        body.append(f'<g class="s">{"".join(parts)}</g>')
    width = round(2 * LEFT + COLUMNS * WIDTH)
    height = BAR + TOP + max(row + 1 for _, _, rows in scenes for row, *_ in rows) * HEIGHT
    colours = enumerate(("#ff5f57", "#febc2e", "#28c840"))
    dots = "".join(f'<circle cx="{18 + 18 * n}" cy="17" r="5.5" fill="{colour}"/>' for n, colour in colours)
    title = "A worker is killed with kill -9 and is up again within milliseconds; another waits for its database"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-labelledby="title">\n<title id="title">{title}</title>\n'
        f'<style>{STYLE.replace("DURATION", f"{length:.2f}")}{"".join(frames)}</style>\n<defs>{"".join(clips)}</defs>\n'
        f'<rect width="{width}" height="{height}" rx="8" fill="#0d1117"/>'
        f'<path d="M0 {BAR}H{width}" stroke="#30363d"/>{dots}'
        f'<text class="t f" x="{width / 2}" y="22" text-anchor="middle">workerheal</text>\n'
        + "\n".join(body)
        + "\n</svg>\n"
    )


def main():
    program, target = sys.argv[1:]
    sandbox = Sandbox()
    try:
        set_the_stage(sandbox, program)
        scenes, length = record(sandbox)
    finally:
        sandbox.close()
    svg = picture(scenes, length)
    if len(svg) > 60 * 1024:
        sys.exit(f"{len(svg)} bytes are too many")
    with tempfile.NamedTemporaryFile("w", dir=Path(target).parent, delete=False) as new:
        new.write(svg)
    os.chmod(new.name, 0o644)
    os.replace(new.name, target)
    print(f"{target}: {length:.0f} s, {len(svg) // 1024} KiB")


main()
