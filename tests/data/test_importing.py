"""What people install beside outweigh is imported without anybody being told."""

import importlib.util
import subprocess
import sys

import pytest


def test_openvino_is_imported_and_tells_nobody():
    pytest.importorskip("openvino_telemetry")
    program = (
        "import sys\n"
        "from outweigh.data.importing import imported\n"
        "module = imported('openvino')\n"
        "print(module.__name__, [name for name in sys.modules if 'openvino_telemetry' in name])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)

    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["openvino", "[]"]


def test_a_module_is_imported_as_ever_and_one_that_is_not_there_says_so():
    from outweigh.data.importing import imported

    assert imported("json.decoder") is importlib.import_module("json.decoder")
    with pytest.raises(ImportError):
        imported("openvino.not_there" if importlib.util.find_spec("openvino") else "not_there")
    assert "openvino_telemetry" not in sys.modules or sys.modules["openvino_telemetry"] is not None
