"""What lies between a decoder's matrix products, in two forms of one interface.

protocol.py  Kernels: norms, the gated unit, adapters, attention over slots, what is read off logits
plain.py     torch operations: any device, and the yardstick of the tests
native.py    kernels.cpp for this processor: several times faster on a CPU, where a decode step is bound by overheads
build.py     compiles kernels.cpp and its headers once per machine, where there is a C++ compiler
"""

from serve_app.engine.kernels.choose import choose_kernels
from serve_app.engine.kernels.protocol import Kernels

__all__ = ["Kernels", "choose_kernels"]
