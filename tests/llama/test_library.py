"""llama.cpp as a library: silent unless asked, its errors kept, its devices listed."""

import logging
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edgespec.errors import EngineError, ModelFileError
from edgespec.llama import library
from edgespec.llama.build import describe_backends, native_version
from edgespec.llama.context import Context
from edgespec.llama.devices import device_handle, list_devices
from edgespec.llama.library import default_threads, take_native_errors
from edgespec.llama.model import Model
from tests.llama.engines import settings

NATIVE = "edgespec.llama.native"


def run_clean(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def test_a_program_that_asks_for_nothing_sees_nothing_of_llama_cpps_log(tiny_model: Path):
    code = """
import sys
from pathlib import Path
from edgespec.llama.context import Context
from edgespec.llama.context_settings import ContextSettings
from edgespec.llama.model import Model
with Model(Path(sys.argv[1])) as model, Context(model, ContextSettings(256, 1)) as context:
    context.prefill(model.tokenize("the cat"))
    print(context.n_past)
try:
    Model(Path("nothing.gguf"))
except Exception as error:
    print(type(error).__name__)
"""
    ran = run_clean(code, tiny_model)
    lines = ran.stdout.split()
    assert (ran.returncode, ran.stderr) == (0, "")
    assert int(lines[0]) > 1
    assert lines[1:] == ["ModelFileError"]


def test_the_log_arrives_as_records_one_level_down(tiny_model: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG, logger=NATIVE)
    with Model(tiny_model) as model, Context(model, settings()):
        pass
    with pytest.raises(ModelFileError):
        Model(tiny_model.with_name("nothing.gguf"))
    records = [record for record in caplog.records if record.name == NATIVE]
    assert any("general.architecture" in record.getMessage() for record in records)
    information = next(record for record in records if "general.architecture" in record.getMessage())
    assert information.levelno == logging.DEBUG
    errors = [record.getMessage() for record in records if record.levelno == logging.ERROR]
    assert any("nothing.gguf" in line for line in errors)
    assert all(line == line.strip() != "" for line in (record.getMessage() for record in records))


def test_error_lines_are_kept_until_they_are_taken(tiny_model: Path):
    take_native_errors()
    with pytest.raises(ModelFileError) as caught:
        Model(tiny_model.with_name("nothing.gguf"))
    assert "failed to open GGUF file" in caught.value.message
    assert take_native_errors() == ""


def test_an_earlier_error_is_not_blamed_on_a_later_call(model: Model, tiny_model: Path):
    with pytest.raises(ModelFileError):
        Model(tiny_model.with_name("nothing.gguf"))
    with Context(model, settings()) as context, pytest.raises(EngineError) as caught:
        context.decode([999_999])
    assert "nothing.gguf" not in caught.value.message


def test_the_cpu_is_listed_with_its_memory():
    devices = list_devices()
    (cpu,) = [device for device in devices if device.kind == "cpu"]
    assert cpu.name == "CPU"
    assert cpu.memory_total_bytes >= cpu.memory_free_bytes > 1 << 20
    assert len({device.name for device in devices}) == len(devices)


def test_a_device_is_found_by_name_in_any_case():
    assert device_handle("cpu") == device_handle("CPU") != 0


def test_an_unknown_device_names_the_known_ones():
    with pytest.raises(EngineError) as caught:
        device_handle("CUDA7")
    assert caught.value.message == "there is no device 'CUDA7'"
    names = ", ".join(device.name for device in list_devices())
    assert caught.value.hint == f"this build of llama.cpp has: {names}"


def test_the_report_names_versions_and_features():
    report = describe_backends()
    assert re.fullmatch(r"\d+\.\d+\.\d+ \(\S+\)", native_version())
    assert report.llama_cpp == native_version()
    assert re.match(r"0\.\d+\.\d+", report.llama_cpp_python)
    assert "CPU" in report.system_info
    assert report.devices == list_devices()
    # Without a GPU it still says yes where layers can go to another machine.
    has_gpu = any(device.kind in ("gpu", "igpu") for device in report.devices)
    assert report.supports_gpu_offload == (has_gpu or report.supports_rpc)


def test_threads_are_cores_that_this_process_may_use():
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    assert 1 <= default_threads() <= allowed


def test_llama_cpp_is_whole_for_a_program_that_uses_it_too(tiny_model: Path):
    code = f"""
import sys
from pathlib import Path
from edgespec.llama.model import Model
Model(Path({str(tiny_model)!r})).close()
assert "llama_cpp" not in sys.modules
import llama_cpp
print(llama_cpp.Llama.__name__, llama_cpp.llama_cpp.llama_max_devices() > 0)
"""
    ran = run_clean(code)
    assert (ran.stdout, ran.stderr) == ("Llama True\n", "")


LOADING = """
from edgespec.errors import EngineError
from edgespec.llama.library import load_library
try:
    load_library()
except EngineError as error:
    print(error.message, "|", error.hint)
"""
"""Says what is wrong with the library."""


def test_a_missing_llama_cpp_says_how_to_install_it():
    ran = run_clean('import sys\nsys.modules["llama_cpp.llama_cpp"] = None' + LOADING)
    assert ran.stderr == ""
    assert re.match(r"llama-cpp-python cannot be loaded: .* \| run `make install`", ran.stdout)


@pytest.mark.skipif(
    sys.platform != "linux" or not shutil.which("cc"),
    reason="a library without what it needs is linked there",
)
def test_a_build_for_a_gpu_whose_driver_is_not_there_says_what_is_missing(tmp_path: Path):
    package = tmp_path / "llama_cpp"
    installed = next(
        place for place in map(Path, sys.path) if (place / "llama_cpp" / "llama_cpp.py").exists()
    )
    (package / "lib").mkdir(parents=True)
    for name in ("__init__.py", "llama_cpp.py", "_ctypes_extensions.py"):
        shutil.copy2(installed / "llama_cpp" / name, package / name)
    source, driver = tmp_path / "empty.c", tmp_path / "libcuda.so.1"
    source.write_bytes(b"")
    link = ["cc", "-shared", "-fPIC", str(source)]
    subprocess.run([*link, "-Wl,-soname,libcuda.so.1", "-o", driver], check=True)
    library = package / "lib" / "libllama.so"
    subprocess.run([*link, "-Wl,--no-as-needed", str(driver), "-o", library], check=True)
    driver.unlink()
    ran = run_clean(f"import sys\nsys.path.insert(0, {str(tmp_path)!r})" + LOADING)
    assert ran.stderr == ""
    assert "libcuda.so.1" in ran.stdout.partition(" | ")[0]
    assert "needs NVIDIA's driver: install that, or build for the CPU" in ran.stdout.partition(" | ")[2]


@pytest.mark.parametrize(
    ("features", "setting"),
    [
        ("CPU : AVX = 1 | AVX2 = 1 | F16C = 1", "0"),
        ("CPU : AVX2 = 1 | AVX512 = 1", "0"),
        ("CPU : AVX2 = 1 | AVX512 = 1 | AVX512_VNNI = 1", None),
        ("CPU : NEON = 1 | ARM_FMA = 1", None),
    ],
)
def test_tiled_multiplication_is_off_where_it_costs(
    features: str, setting: str | None, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("GGML_CPU_TILED_MM", raising=False)
    library._choose_matmul(features)
    assert os.environ.get("GGML_CPU_TILED_MM") == setting
    monkeypatch.setenv("GGML_CPU_TILED_MM", "1")
    library._choose_matmul(features)
    assert os.environ["GGML_CPU_TILED_MM"] == "1"


@pytest.mark.skipif(
    not Path("/proc/self/maps").exists(), reason="only Linux lists the libraries of a process"
)
def test_ggml_is_there_once():
    code = (
        "from pathlib import Path; from edgespec.llama.build import native_kernels\n"
        "from edgespec.llama.devices import list_devices\n"
        "list_devices(), native_kernels()\n"
        "paths = {line.split()[-1] for line in open('/proc/self/maps') if 'libggml' in line}\n"
        "print(*sorted(Path(path).name.partition('.')[0] for path in paths))"
    )
    names = run_clean(code).stdout.split()
    assert "libggml-base" in names
    assert len(names) == len(set(names))
