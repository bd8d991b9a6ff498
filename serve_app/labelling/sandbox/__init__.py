"""Runs a program that nobody trusts against tests that somebody does, and believes only the tests.

    headrace ──stdin──▶ examiner ──calls──▶ answer          three processes: `run`, `examiner`, `answer`
             ◀─result── (tests)   ◀─values─ (the program)

1. `run` starts a bare interpreter in an empty folder, environment and session, and sends it the program.
2. The examiner puts up the kernel's `fence` and starts the answer process, an interpreter of its own that puts up the
   `hook`, *before* it is sent the tests, so that no test, expected value or nonce is ever in the memory of the program.
3. The tests run in the examiner, whose builtins and modules the program cannot reach. A function of the program is a
   stand-in there: its arguments go over as plain data and plain data comes back (`wire`), so that an object that is
   equal to everything, a replaced `sorted` or an early exit proves nothing.
4. The examiner writes the outcome with the nonce on a pipe that the answer process has not got.

Standard library only, and no import of the rest of Headrace: all but `run` is for bare interpreters.

Where the kernel allows no namespaces (macOS, some containers), nothing is run unless it is asked for with
`without_namespaces`: network, processes and files are then kept from the program by the audit hook alone, which stops
Python code, not machine code that a fault of the interpreter lets in.

What is left: the program may use processor and memory up to its limits; side channels and faults of the kernel or of
the interpreter are not covered. Tests that hand functions of their own to the program cannot be run (the outcome says
so), and programs see the standard library only, without `ctypes`.
"""
