"""Whether an installed edgespec-llama loads on this machine: what cibuildwheel runs for every wheel.

It has edgespec's bindings look for it as edgespec does, and asks for no model.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from edgespec.llama.bindings import bindings_version
from edgespec.llama.build import describe_backends

report = describe_backends()
print(bindings_version(), report.llama_cpp, report.kernels, report.system_info, sep="\n")
if (
    not report.kernels.version
    or not report.supports_rpc
    or not any(one.kind == "cpu" for one in report.devices)
):
    sys.exit("edgespec-llama lacks its kernels, a CPU or RPC")
