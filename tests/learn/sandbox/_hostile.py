"""Programs that a learner, or somebody worse, could write. Each is a whole file."""

# name -> (source, what it may end in: reasons to be stopped, types of errors, None for neither)
HOSTILE: dict[str, tuple[str, str]] = {
    "infinite loop": ("while True: pass", "time"),
    "endless sleep": ("import time; time.sleep(1e9)", "time"),
    "loop in C": ("sum(range(10**18))", "time"),
    "loop that catches everything": (
        "while True:\n    try:\n        while True: pass\n    except BaseException: pass",
        "time",
    ),
    "signals caught": (
        "import signal\nfor n in range(1, 65):\n    try: signal.signal(n, lambda *a: None)\n"
        "    except Exception: pass\nwhile True: pass",
        "time",
    ),
    "signals blocked": (
        "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))\nwhile True: pass",
        "time",
    ),
    "threads that never end": (
        "import threading, time\n"
        "for _ in range(20): threading.Thread(target=time.sleep, args=(1e9,)).start()\n"
        "time.sleep(1e9)",
        "time RuntimeError",
    ),
    "regular expression": ("import re; re.match('(a+)+$', 'a' * 60 + 'b')", "time"),
    "huge allocation": ("x = bytearray(64 << 30)", "MemoryError"),
    "memory bit by bit": ("x = []\nwhile True: x.append(bytearray(1 << 24))", "MemoryError time"),
    "huge tensor": ("import torch; torch.zeros(1 << 36)", "RuntimeError"),
    "gigabytes of output": ("while True: print('x' * 100000)", "printed"),
    "gigabytes on stderr": (
        "import os\nwhile True: os.write(2, b'x' * 65536)",
        "printed",
    ),
    "deep recursion": ("def f(): return f()\nf()", "RecursionError"),
    "fork bomb": ("import os\nwhile True: os.fork()", "PermissionError"),
    "fork bomb, patient": (
        "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass",
        "time",
    ),
    "grandchild in a new session": (
        "import subprocess\nsubprocess.Popen(['sleep', '600'], start_new_session=True)",
        "PermissionError",
    ),
    "another program": ("import os; os.execv('/bin/sleep', ['sleep', '600'])", "PermissionError"),
    "shell": ("import os\nassert os.system('sleep 600') == 0", "AssertionError"),
    "multiprocessing": (
        "import multiprocessing as m\nm.get_context('fork').Process(target=print).start()",
        "PermissionError",
    ),
    "kill the parent": ("import os; os.kill(os.getppid(), 9)", "PermissionError"),
    "kill everything": ("import os; os.kill(-1, 9)", "PermissionError"),
    "os._exit": ("import os; os._exit(0)", "ended"),
    "abort": ("import os; os.abort()", "ended"),
    "segmentation fault": ("import ctypes; ctypes.string_at(0)", "ended"),
    "sys.exit": ("import sys; sys.exit(0)", "SystemExit"),
    "exit in a thread's name": ("raise KeyboardInterrupt", "KeyboardInterrupt"),
    "no more descriptors": (
        "f = []\nwhile True: f.append(open('/dev/null'))",
        "OSError",
    ),
    "close all descriptors": ("import os; os.closerange(0, 1000)", "ended"),
    "fill the disk": (
        "i = 0\nwhile True:\n    open(f'big{i}', 'wb').write(b'x' * (1 << 23)); i += 1",
        "OSError",
    ),
    "one huge file": ("open('big', 'wb').write(b'x' * (1 << 26))", "OSError PermissionError"),
    "delete the progress": ("import os\nos.remove({progress!r})", "OSError PermissionError"),
    "empty the progress": ("open({progress!r}, 'w').close()", "OSError PermissionError"),
    "delete the folder": ("import shutil\nshutil.rmtree({folder!r})", "OSError PermissionError"),
    "rename the folder": (
        "import os\nos.rename({folder!r}, {folder!r} + 'x')",
        "OSError PermissionError",
    ),
    "progress made unreadable": ("import os\nos.chmod({progress!r}, 0)", "OSError PermissionError"),
    "forged progress": (
        "import sqlite3\nd = sqlite3.connect({progress!r})\n"
        "d.execute(\"UPDATE practice SET passed_at = 'now'\")\nd.commit()",
        "OperationalError",
    ),
    "network": ("import socket; socket.socket().connect(('127.0.0.1', 80))", "PermissionError"),
    "garbage instead of an answer": (
        "import os\nfor n in range(3, 30):\n    try: os.write(n, b'\\xff' * 4096)\n"
        "    except OSError: pass",
        "answer protocol",
    ),
    "an endless answer": (
        "import os\nwhile True:\n    for n in range(3, 30):\n"
        "        try: os.write(n, b'\\0' * 65536)\n        except OSError: pass",
        "protocol answer time",
    ),
    "rlimits raised": (
        "import resource\nresource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)",
        "ValueError",
    ),
    "mounts undone": (
        "import ctypes\nl = ctypes.CDLL(None, use_errno=True)\n"
        "assert l.mount(b'none', b'/', None, 0x20 | 0x1000, None) == 0\n"
        "open({progress!r}, 'w').close()",
        "AssertionError",
    ),
}

DOUBLE = """
def double(x):
    return {body}
"""

# files that want to pass for an exercise "return 2 * x" without doing it
FORGED: dict[str, str] = {
    "prints PASS": "print('PASS')\ndef double(x): return x",
    "exit status 0": "def double(x):\n    import os\n    os._exit(0)",
    "SystemExit": "def double(x):\n    raise SystemExit(0)",
    "torch's comparisons patched": (
        "import torch\nfor n in ('allclose', 'equal', 'isclose', 'eq'):\n"
        "    setattr(torch, n, lambda *a, **k: True)\n"
        "torch.Tensor.__eq__ = lambda *a: True\ntorch.testing.assert_close = lambda *a, **k: None\n"
        "def double(x): return x"
    ),
    "equal to everything": (
        "class Yes:\n    def __eq__(self, other): return True\n    shape = (3, 4)\n"
        "def double(x): return Yes()"
    ),
    "a tensor subclass that agrees": (
        "import torch\nclass Yes(torch.Tensor):\n    @classmethod\n"
        "    def __torch_function__(cls, f, types, args=(), kwargs=None): return True\n"
        "def double(x): return torch.Tensor._make_subclass(Yes, x)"
    ),
    "NaN": "def double(x): return x * float('nan')",
    "infinity": "def double(x): return x * float('inf')",
    "an empty tensor": "def double(x): return x[:0]",
    "one number that broadcasts": "def double(x): return 2 * x[:1, :1]",
    "a tensor of objects' shape": "def double(x): return (2 * x)[None]",
    "the inputs doubled in place": "def double(x): return x.mul_(2)",
    "the inputs doubled, a view": "def double(x):\n    x *= 2\n    return x[:]",
    "eyeline's solution": "from eyeline.learn.exercises import e01_dot_product_lookup as double",
    "a forged answer on the pipe": (
        "import os, json, struct\ndef double(x):\n    t = json.dumps({'plain': 'PASS'}).encode()\n"
        "    for n in range(3, 30):\n        try: os.write(n, struct.pack('<QQ', len(t), 0) + t)\n"
        "        except OSError: pass\n    return x"
    ),
    "the encoder patched": (
        "import gc, types\nfor m in gc.get_objects():\n"
        "    if isinstance(m, types.ModuleType) and getattr(m, '__name__', '').endswith('wire'):\n"
        "        m.encode = lambda data: b''\ndef double(x): return x"
    ),
    "the caller's frames": (
        "import sys\ndef double(x):\n    f = sys._getframe()\n    while f:\n"
        "        for k in list(f.f_locals):\n            if 'expect' in k: return f.f_locals[k]\n"
        "        f = f.f_back\n    return x"
    ),
    "no answer at all": "def double(x): pass",
    "a number for a tensor": "def double(x): return 2.0",
    "complex numbers": "def double(x): return (2 * x).to(dtype=__import__('torch').complex128)",
    "whole numbers": "def double(x): return (2 * x).long()",
    "always the first answer": (
        "first = []\ndef double(x):\n    first.append(2 * x)\n    return first[0]"
    ),
}
