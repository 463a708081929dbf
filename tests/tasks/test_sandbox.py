"""Programs that loop, hoard, fork, cheat or reach out: what becomes of each, and that nothing stays behind.

Nothing is skipped: where bubblewrap is missing, every test of a program fails with the line that says how to get it.
"""
import json, os, shutil, socket, subprocess, sys, threading, time
from pathlib import Path
from textwrap import dedent

import pytest
from hypothesis import given, settings, strategies as st

from conftest import ROOT
from rlvd_nb.core.errors import UserError
from rlvd_nb.tasks import sandbox
from rlvd_nb.tasks.sandbox import Outcome, SandboxError, available, clock, need_sandbox, run_python
from rlvd_nb.tasks.sandbox_inside import UNREADABLE, Opaque, pack, unpack

RIGHT = "def f(x): return x + 1"
CHECKS = "assert call('f')(1) == 2"


def outcome(text, checks=CHECKS, **limits): return run_python(dedent(text), checks, **dict(seconds=1, wall=30) | limits)


def test_there_is_a_sandbox(): assert available() == (True, "") and need_sandbox() is None


# What becomes of a program

STDERR = "import sys\nwhile True: print('x' * 1000, file=sys.stderr)"
DEAF = "import signal\nfor s in (signal.SIGXCPU, signal.SIGTERM): signal.signal(s, signal.SIG_IGN)\nwhile True: pass"
ENDS = [
    ("passed", RIGHT),
    ("passed", "f = lambda x: 2.0"),
    ("passed", "import numpy as np\ndef f(x): return np.int64(x + 1)"),
    ("passed", "class I(int): pass\ndef f(x): return I(2)"),
    ("passed", "print('a' * 5_000_000)\n" + RIGHT),
    ("passed", "if __name__ == '__main__': input()\n" + RIGHT),
    ("passed", "import random, dataclasses\n" + RIGHT),
    ("failed", "def f(x): return x"),
    ("failed", "def f(x): return 1 / 0"),
    ("failed", "def f(x: return 2"),
    ("failed", ""),
    ("failed", "f = 3"),
    ("failed", "x = '\0'"),
    ("failed", "x = input()"),
    ("failed", "def f(x): yield 2"),
    ("failed", "import torch\n" + RIGHT),
    ("failed", "def f(x): return f(x)"),
    ("failed", "import ctypes\nctypes.string_at(0)"),
    ("failed", "import os\nos.abort()"),
    ("failed", "(" * 5000),
    ("failed", "x = " + "+".join(["1"] * 100_000)),
    ("timeout", "while True: pass"),
    ("timeout", DEAF),
    ("timeout", "def f(x): return 10 ** 10 ** 10"),
]


@pytest.mark.parametrize("status, text", ENDS, ids=[f"{status}-{text[:30]!r}" for status, text in ENDS])
def test_how_a_program_ends(status, text): assert outcome(text).status == status


def test_a_sleeper_is_stopped_by_the_clock():
    start = time.monotonic()
    assert outcome("import time\ntime.sleep(60)", wall=.5) == Outcome("timeout", "0.5 s on the clock")
    assert time.monotonic() - start < 10


def test_checks_have_a_limit_too():
    assert outcome(RIGHT, "while True: pass").why == "the checks took all their processor time"
    assert outcome("def f(): return 'x' * 2**24", "x = call('f')() * 2**10").status == "memory"


def test_what_is_told_of_it():
    assert outcome("def f(x): raise ValueError('no\\nway')").why == "ValueError: no\nway"
    assert outcome("import sys\nprint('help!', file=sys.stderr, flush=True)\n" + RIGHT).stderr == "help!\n"
    assert outcome("def f(x): return 3").why == "check: AssertionError"
    assert outcome("import ctypes\nctypes.string_at(0)").why == "killed by SIGSEGV"
    assert outcome("import os\nos._exit(0)").why == "ended before its checks did"


# Escapes. Each is a program whose `f` tries something; that it tried and managed would be the outcome "passed".

HIDDEN = ROOT / "pyproject.toml" # a file of the project
ESCAPES = {
    # files
    "read /etc/shadow": ("open('/etc/shadow')", "FileNotFoundError"),
    "read /etc/passwd": ("open('/etc/passwd')", "FileNotFoundError"),
    "read a home": (f"os.listdir({str(Path.home() / '.ssh')!r}) or os.listdir('/home')", "FileNotFoundError"),
    "read the project": (f"open({str(HIDDEN)!r})", "FileNotFoundError"),
    "read by dots": (f"open('/tmp/../..{HIDDEN}')", "FileNotFoundError"),
    "read through a link": (f"os.symlink({str(HIDDEN)!r}, 'l')\nopen('l')", "FileNotFoundError"),
    "read a disk": ("open('/dev/sda') or open('/dev/vda')", "FileNotFoundError"),
    "the package": ("import rlvd_nb", "ModuleNotFoundError"),
    "write /": ("open('/x', 'w')", "OSError: [Errno 30] Read-only"),
    "write /etc": ("open('/etc/passwd', 'w')", "OSError: [Errno 30] Read-only"),
    "write /usr": ("open('/usr/x', 'w')", "OSError: [Errno 30] Read-only"),
    "write /dev": ("open('/dev/x', 'w')", "OSError: [Errno 30] Read-only"),
    "write /dev/shm": ("open('/dev/shm/x', 'w')", "OSError: [Errno 30] Read-only"),
    "write to Python": ("open(os.__file__, 'a')", "OSError: [Errno 30] Read-only"),
    "write beside numpy": ("import numpy\nopen(numpy.__path__[0] + '/../x', 'w')", "OSError: [Errno 30] Read-only"),
    "write to the judge": ("open('/inside.py', 'a')", "OSError: [Errno 30] Read-only"),
    "write through a link": ("os.symlink('/usr/x', 'l')\nopen('l', 'w')", "OSError: [Errno 30] Read-only"),
    "link a file": ("os.link('/inside.py', '/tmp/l')", "OSError: [Errno 18] Invalid cross-device"),
    "make a device": ("os.mknod('/tmp/d', 0o20666, 0x103)", "PermissionError"),
    "chroot": ("os.chroot('/tmp')", "PermissionError"),
    "chmod": ("os.chmod('/usr', 0o777)", "OSError: [Errno 30] Read-only"),
    # rights
    "become root": ("os.setuid(0)", "OSError"),
    "raise a limit": ("import resource\nresource.setrlimit(resource.RLIMIT_NPROC, (9, 9))", "ValueError"),
    # network
    "internet": ("socket.create_connection(('1.1.1.1', 53))", "PermissionError"),
    "this machine": ("urllib.request.urlopen('http://127.0.0.1')", "URLError"),
    "names": ("socket.gethostbyname('example.org')", "gaierror"),
    "unix sockets": ("socket.socket(socket.AF_UNIX).connect('/run/dbus/system_bus_socket')", "PermissionError"),
    "abstract sockets": ("socket.socket(socket.AF_UNIX).connect(b'\\0x')", "PermissionError"),
    "raw sockets": ("socket.socket(socket.AF_PACKET, socket.SOCK_RAW)", "PermissionError"),
    "netlink": ("socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)", "PermissionError"),
    # processes
    "fork bomb": ("while True: os.fork()", "PermissionError"),
    "daemon": ("if os.fork() == 0: os.setsid(); time.sleep(60)", "PermissionError"),
    "command": ("subprocess.run(['ls'])", "PermissionError"),
    "spawn": ("os.posix_spawn('/usr/bin/ls', ['ls'], {})", "PermissionError"),
    "pool": ("import multiprocessing\nmultiprocessing.Pool(2)", ("OSError", "PermissionError", "FileNotFoundError")),
    "thread that outlives": ("threading.Thread(target=time.sleep, args=(60,)).start()", "RuntimeError: can't start"),
    "another program in its place": ("os.execv('/usr/bin/sh', ['sh', '-c', 'echo 2 >&4; exit 0'])", "ended before"),
    "signal to all": ("os.kill(-1, 9)\nwhile True: pass", ("ProcessLookupError", "ended before", "killed by SIGKILL")),
    "signal to its group": ("os.kill(0, 9)", ("ended before", "killed by SIGKILL")),
    "signal to the judge": (f"os.kill({os.getpid()}, 9)", "ProcessLookupError"),
    "adopt": ("import ctypes\nassert ctypes.CDLL(None).ptrace(16, 1, 0, 0) == 0", "AssertionError"),
    # memory
    "list": ("x = []\nwhile True: x.append(' ' * 10**6)", "MemoryError"),
    "at once": ("bytearray(10**10)", "MemoryError"),
    "numpy": ("import numpy\nnumpy.ones(10**9)", "MemoryError"),
    "shared map": ("import mmap\nmmap.mmap(-1, 2**31)", "OSError: [Errno 12] Cannot allocate"),
    "memory file": ("os.memfd_create('x')", "PermissionError"),
    "scratch": ("for i in range(100): open(str(i), 'w').write('x' * 900_000)", "OSError: [Errno 28] No space"),
    "large file": ("open('x', 'w').write('x' * 2**22)", "OSError: [Errno 27] File too large"),
    "descriptors": ("x = [open('/dev/null') for i in range(100)]", "OSError: [Errno 24] Too many open"),
    "large result": ("return 'x' * 2**26", "too large a result"),
    # output
    "standard error": ("while True: print('x' * 1000, file=sys.stderr)", "OSError: [Errno 27] File too large"),
    "the channel": ("while True: os.write(CHANNEL, b'x' * 10**5)", "too large a result"),
    # secrets
    "environment": ("os.environ['HOME']", "KeyError"),
    "its parent": ("open('/proc/1/environ')", "FileNotFoundError"),
    "its memory": ("open('/proc/self/mem')", "FileNotFoundError"),
    "all processes": ("os.listdir('/proc')", "FileNotFoundError"),
    "settings of the kernel": ("open('/proc/sys/kernel/core_pattern', 'w')", "FileNotFoundError"),
    "hardware": ("os.listdir('/sys')", "FileNotFoundError"),
    "the terminal": ("os.open('/dev/tty', os.O_RDWR)", "OSError: [Errno 6] No such device"),
}
START = """
import os, socket, subprocess, sys, threading, time, urllib.request
def is_open(i):
    try: return bool(os.fstat(i))
    except OSError: return False
CHANNEL, = filter(is_open, range(3, 64))
"""


@pytest.mark.parametrize("name", ESCAPES)
def test_escape(name):
    attempt, end = ESCAPES[name]
    text = START + "def f():\n" + "".join(f"  {line}\n" for line in attempt.split("\n"))
    found = outcome(text, "call('f')()")
    assert found.status == ("memory" if end == "MemoryError" else "failed") and found.why.startswith(end), found


SHOWN = {"usr", "lib", "etc", "dev", "tmp", "inside.py"} | {path for path in ("lib64",) if os.path.exists(f"/{path}")}
SEES = """
import ctypes, os, platform, sys
def f(): return dict(
    top=os.listdir("/"), etc=os.listdir("/etc"), scratch=os.listdir("/tmp"), environment=list(os.environ),
    user=os.getuid(), group=os.getgid(), name=platform.node(), process=os.getpid(), here=os.getcwd(),
    secret=ctypes.CDLL(None).getenv(b"SECRET"),
)
"""


def test_what_it_sees(monkeypatch):
    monkeypatch.setenv("SECRET", "4711")
    folders = {Path(sys.base_prefix).resolve().parts[1], sandbox.PACKAGES.strip("/")}
    checks = f"""
found = call("f")()
assert set(found["top"]) == {SHOWN | folders}, found["top"]
assert set(found["etc"]) <= {{"ld.so.cache", "alternatives"}}, found["etc"]
assert set(found["environment"]) <= {{*{list(sandbox.ENVIRONMENT)}, "PYTHONPATH", "PWD", "LC_CTYPE"}}, found
assert (found["user"], found["group"], found["name"], found["process"]) == (65534, 65534, "sandbox", 2), found
assert (found["scratch"], found["here"], found["secret"]) == ([], "/tmp", 0), found
"""
    assert outcome(SEES, checks) == Outcome("passed")


def test_a_real_socket_is_out_of_reach(tmp_path):
    "One that listens on this machine, by name and abstract, while the program runs."
    for address in (str(tmp_path / "s"), f"\0{tmp_path}"):
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(address)
            server.listen()
            text = f"import socket\ndef f(): socket.socket(socket.AF_UNIX).connect({address!r})"
            found = outcome(text, "call('f')()")
            assert found.why.startswith("PermissionError"), found


CALLS = dict(
    unshare=(0x10000000,), mount=(b"x", b"/tmp", b"tmpfs", 0, 0), ptrace=(0, 0, 0, 0), shmget=(0, 4096, 0o1600),
    msgget=(0, 0o1600), semget=(0, 1, 0o1600), setns=(0, 0), memfd_create=(b"x", 0), personality=(0,),
    umount2=(b"/", 0),
)


@pytest.mark.parametrize("name", CALLS)
def test_forbidden_system_calls(name):
    text = f"""
        import ctypes
        libc = ctypes.CDLL(None, use_errno=True)
        def f(): return libc.{name}(*{CALLS[name]}), ctypes.get_errno()
    """
    assert outcome(text, "assert call('f')() == (-1, 1), call('f')()") == Outcome("passed")


def test_scratch_is_a_programs_own():
    listing = "import os\ndef f(): return os.listdir('/tmp')"
    assert outcome(f"open('/tmp/a', 'w').write('x')\n{listing}", "assert call('f')() == ['a']") == Outcome("passed")
    assert outcome(listing, "assert call('f')() == []") == Outcome("passed")
    assert not os.path.exists("/tmp/a")


# Forged verdicts

CHEAT = "def f(x): return 3"
FORGERIES = {
    "os._exit(0)": "import os\nos._exit(0)",
    "sys.exit(0)": "import sys\nsys.exit(0)",
    "exit in the call": "def f(x): raise SystemExit(0)",
    "os._exit in the call": "import os\ndef f(x): os._exit(0)",
    "atexit": f"import atexit, os\natexit.register(os._exit, 0)\n{CHEAT}",
    "equal to everything": """
        class Any:
            def __eq__(self, other): return True
            def __ne__(self, other): return False
            def __bool__(self): return True
        def f(x): return Any()
    """,
    "a number equal to everything": """
        class Any(int):
            def __eq__(self, other): return True
            __hash__ = None
        def f(x): return Any(3)
    """,
    "a list equal to everything": "class Any(list):\n  def __eq__(self, other): return True\ndef f(x): return Any()",
    "a pretended class": """
        class Any:
            __class__ = int
            def __eq__(self, other): return True
        def f(x): return Any()
    """,
    "unpickled code": """
        class Two:
            def __reduce__(self): return eval, ("2",)
        def f(x): return Two()
    """,
    "__del__": "import os\nclass D:\n  def __del__(self): os._exit(0)\ndef f(x): D(); return 3",
    "no AssertionError": f"import builtins\nbuiltins.AssertionError = type('A', (BaseException,), {{}})\n{CHEAT}",
    "no builtins": f"""
        import builtins
        for name in ("exec", "compile", "isinstance", "type", "getattr", "len", "str"):
            setattr(builtins, name, lambda *a: 2)
        {CHEAT}
    """,
    "its own call and check": f"call = check = lambda *a: lambda *b: 2\n{CHEAT}",
    "frames": f"""
        import sys
        frame = sys._getframe()
        while frame:
            for names in (frame.f_globals, frame.f_locals):
                for name in list(names):
                    if name in ("check", "Program", "marshal", "judge", "unpack"):
                        names[name] = lambda *a, **b: ("passed", "")
            frame = frame.f_back
        {CHEAT}
    """,
    "inspect": f"""
        import inspect
        for each in inspect.stack(): each.frame.f_globals.update(check=lambda *a: ("passed", ""), Ended=Exception)
        {CHEAT}
    """,
    "all objects": f"""
        import gc
        for each in gc.get_objects():
            if isinstance(each, dict) and "call" in each: each["call"] = lambda name: lambda *a: 2
        {CHEAT}
    """,
    "trace": f"""
        import sys
        def trace(frame, event, argument):
            if event == "return" and "verdict" in frame.f_locals: frame.f_locals["verdict"] = ("passed", "")
            return trace
        sys.settrace(trace)
        sys.setprofile(trace)
        {CHEAT}
    """,
    "the judge's modules": f"""
        import sys, json, marshal, numpy
        main = sys.modules["__main__"]
        for name in ("check", "judge", "unpack", "Program"): setattr(main, name, lambda *a, **b: ("passed", ""))
        numpy.allclose = json.loads = lambda *a, **b: True
        {CHEAT}
    """,
    "modules for later": f"""
        import sys, types
        sys.modules["numpy"] = sys.modules["math"] = types.ModuleType("m")
        {CHEAT}
    """,
    "a verdict to every descriptor": """
        import os
        for i in range(64):
            try: os.write(i, b'["passed", ""]\\n' * 3)
            except OSError: pass
        os._exit(0)
    """,
    "printed": f"print('passed')\nprint('[\"passed\", \"\"]', flush=True)\n{CHEAT}",
    "a call it was not asked": """
        import os
        for i in range(3, 64):
            try: os.write(i, b'{"value": "here", "status": "passed"}\\n' * 2 + b'{"value": 3}\\n' * 9)
            except OSError: pass
        os._exit(0)
    """,
    "tags": """
        import os
        for i in range(3, 64):
            try: os.write(i, b'{"value": {"code": "2"}}\\n')
            except OSError: pass
    """,
    "half a line": "import os\nfor i in range(3, 64):\n  try: os.write(i, b'{'); os.close(i)\n  except OSError: pass",
    "kill all": f"import os\ntry: os.kill(-1, 9)\nexcept OSError: pass\n{CHEAT}",
    "kill the judge": f"import os\nos.kill(os.getppid(), 9)\nos.kill(1, 15)\n{CHEAT}",
    "kill itself": "import os\nos.kill(os.getpid(), 9)",
    "a status of the limit": "import os\nos._exit(128 + 24)",
    "a status of a kill": "import os\nos._exit(128 + 9)",
}


@pytest.mark.parametrize("name", FORGERIES)
def test_no_forgery_passes(name):
    assert outcome(FORGERIES[name]).status == "failed"
    assert outcome(RIGHT).status == "passed" # and the next program is judged as if nothing had been


def test_tests_that_catch_everything_do_not_catch_the_end():
    checks = "for i in range(3):\n  try: call('f')(1)\n  except: pass"
    assert outcome("import os\ndef f(x): os._exit(0)", checks) == Outcome("failed", "ended before its checks did")


def test_the_tests_are_not_in_the_programs_memory():
    text = """
        import gc
        def inside(o): return o.values() if type(o) is dict else o if type(o) in (list, tuple) else ()
        def f(x):
            gc.collect()
            texts = [s for o in gc.get_objects() for s in inside(o) if type(s) in (str, bytes)]
            return [s for s in texts if "sec" "ret-4711" in str(s)]
    """
    assert outcome(text, "secret = 'secret-4711'\nfound = call('f')(1)\nassert found == [], found") == Outcome("passed")


def test_same_program_same_verdict():
    text = "import random\ndef f(): return [random.random(), hash('a'), list({'a', 'b', 'c', 'd'})]"
    def drawn():
        sandbox.checker().close()
        return outcome(text, "import random\nfound = call('f')() + [random.random()]\nassert False, found").why
    assert drawn() == drawn()


# Processes

def inside(role="program"):
    "The processes behind walls, as `ps` sees them."
    lines = subprocess.run(["ps", "-eo", "pid,ppid,args"], capture_output=True, text=True).stdout.splitlines()
    return [line for line in lines if f"/inside.py {role}" in line]


def gone(condition):
    "Whether it becomes true in a few seconds."
    return any(condition() or time.sleep(.1) for _ in range(100))


def test_nothing_outlives_a_program():
    "Programs of others may run here meanwhile; this one's carry its limits."
    for text in ("while True: pass", "import time\ntime.sleep(60)", "import os\nos._exit(0)"):
        outcome(text, seconds=1, wall=1, memory_mb=251)
    assert gone(lambda: not any('"memory_mb": 251' in line for line in inside()))


def test_nothing_runs_after_its_owner(tmp_path):
    code = (
        "from rlvd_nb.tasks.sandbox import checker, run_python; import threading, os, signal, time\n"
        "print(checker().process.pid, flush=True)\n"
        "threading.Timer(1, os.kill, (os.getpid(), signal.SIGKILL)).start()\n"
        "run_python('import time; time.sleep(60)', memory_mb=252, wall=60)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    pid = done.stdout.strip()
    assert pid and gone(
        lambda: not any('"memory_mb": 252' in line for line in inside())
        and not any(pid in line.split()[:2] for line in inside("checker"))
    )


def test_a_dead_checker_gives_no_verdict_and_then_there_is_another():
    "Its end is noticed before the next program is sent, or is a SandboxError; it is never a verdict."
    outcome(RIGHT)
    first = sandbox.checker().process
    first.kill()
    try: assert outcome(RIGHT).status == "passed"
    except SandboxError as error: assert "the checker ended" in str(error)
    assert outcome(RIGHT).status == "passed" and sandbox.checker().process is not first


def test_an_interrupted_verdict_is_nobody_elses(monkeypatch):
    class Interrupting(sandbox.Checker):
        def answer(self, seconds):
            if seconds == 30: raise KeyboardInterrupt
            return super().answer(seconds)
    monkeypatch.setattr(sandbox, "Checker", Interrupting)
    sandbox.checker().close()
    with pytest.raises(KeyboardInterrupt): outcome(RIGHT)
    monkeypatch.undo()
    assert outcome("def f(x): return 0").status == "failed"


def test_a_forked_child_has_its_own():
    outcome(RIGHT)
    first = sandbox.checker()
    if (child := os.fork()) == 0:
        os._exit(0 if outcome(RIGHT).status == "passed" and sandbox.checker() is not first else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert outcome(RIGHT).status == "passed" and sandbox.checker() is first


def test_threads_judge_side_by_side():
    found = {}
    def judge(number): found[number] = outcome(f"def f(x): return {number}").status
    threads = [threading.Thread(target=judge, args=(number,)) for number in range(4)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    assert found == {0: "failed", 1: "failed", 2: "passed", 3: "failed"}


def test_limits_of_the_caller_do_not_reach_inside():
    code = (
        "import resource\n"
        "for name, most in dict(NOFILE=64, AS=3 * 2**30, CPU=60).items():\n"
        "  which = getattr(resource, f'RLIMIT_{name}')\n"
        "  resource.setrlimit(which, (most, resource.getrlimit(which)[1]))\n"
        "from rlvd_nb.tasks.sandbox import run_python\n"
        "print(run_python('import mmap; x = mmap.mmap(-1, 3 * 2**30)', memory_mb=4096).status)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert said.stdout.strip() == "passed", said


# Refusing

TRY = """
import sys
from rlvd_nb.core.errors import UserError
from rlvd_nb.tasks.sandbox import available, run_python
ok, why = available()
try: run_python(f"open({sys.argv[1]!r}, 'w')")
except UserError as error: print(ok, why == str(error), len(why.splitlines()), why)
"""


def refused(tmp_path, *before, **environment):
    "What a process says that cannot have a sandbox."
    said = subprocess.run(
        [*before, sys.executable, "-c", TRY, str(tmp_path / "ran")], capture_output=True, text=True, cwd=ROOT,
        env=os.environ | environment,
    )
    assert said.stdout.startswith("False True 1 no sandbox here, so no program of a model is run: "), said
    assert not list(tmp_path.iterdir())
    return said.stdout


def test_without_bubblewrap_nothing_is_run(tmp_path):
    said = refused(tmp_path, PATH="/nowhere")
    for how in ("apt-get install", "dnf install", "conda install -c conda-forge"): assert f"{how} bubblewrap" in said


def test_without_permission_nothing_is_run(tmp_path):
    "Inside a sandbox that permits no further ones."
    outer = [shutil.which("bwrap"), "--dev-bind", "/", "/", "--unshare-user", "--disable-userns", "--cap-drop", "ALL"]
    assert "bwrap: " in refused(tmp_path, *outer) and "user namespaces" in refused(tmp_path, *outer)


@pytest.mark.parametrize("limits", [
    dict(seconds=0), dict(seconds=-1), dict(memory_mb=0), dict(wall=0), dict(seconds=float("nan")), dict(seconds=10**7)
])
def test_limits_that_are_none(limits):
    with pytest.raises(UserError, match=f"{next(iter(limits))} must be above 0 and below a million"):
        run_python("", **limits)


def test_the_clock_leaves_room(): assert clock(3) == 14


# What travels

plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
numbers = st.complex_numbers(allow_nan=False) | st.fractions() | st.decimals(allow_nan=False)
hashable = st.recursive(
    plain | numbers, lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3), max_leaves=6
)
values = st.recursive(
    hashable,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(hashable, inner, max_size=3) | st.tuples(inner),
    max_leaves=12,
) | st.sets(hashable, max_size=4)


@settings(max_examples=100, deadline=None)
@given(values)
def test_values_come_back(value):
    back = unpack(json.loads(json.dumps(pack(value))))
    assert back == value and type(back) is type(value)
    if not isinstance(value, (set, frozenset, dict, tuple, list)): assert repr(back) == repr(value)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from("int tuple set dict opaque Fraction Decimal bytes complex x".split()), inner, max_size=2
    ),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(json_values)
def test_nothing_that_is_sent_breaks_the_checker(value):
    try: unpack(value)
    except UNREADABLE: pass


def test_opaque_equals_nothing():
    assert unpack(pack(object())) != unpack(pack(object()))
    assert isinstance(unpack(pack(iter([]))), Opaque) and not unpack(pack(range(0)))
