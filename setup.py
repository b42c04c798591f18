"""The compiled extension, and nothing else: everything static is in pyproject.toml."""

from setuptools import Extension, setup

# Same bytes on every machine: no fused multiply-add, no reordering, and no -march, which would
# tie a wheel to the machine that built it; escape.c asks the processor when it runs.
FLAGS = ["-O3", "-ffp-contract=off", "-fno-fast-math"]

setup(
    ext_modules=[
        Extension(
            "hpczmq.kernels._julia",
            # Setuptools hands a .pyx to Cython by itself. Not `cythonize` here: what it returns
            # has forgotten that it is optional.
            ["hpczmq/kernels/_julia.pyx", "hpczmq/kernels/escape.c"],
            include_dirs=["hpczmq/kernels"],
            depends=[f"hpczmq/kernels/escape{part}.h" for part in ("", "_lanes", "_rounds")],
            # Without a C compiler the rest still installs, and the kernel says what it lacks.
            optional=True,
            extra_compile_args=FLAGS,
        )
    ]
)
