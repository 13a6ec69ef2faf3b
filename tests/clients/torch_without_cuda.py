# SPDX-License-Identifier: Apache-2.0
"""Makes the torch of the package index, which is built for CUDA, importable where none of CUDA's libraries are: run by the Python that has it.

    PYTHON torch_without_cuda.py

For each CUDA library that torch's own libraries ask for and that is not there, an empty one is compiled beside them, with the names, symbols
and symbol versions that they want. Each of its functions answers 100, which is cudaErrorNoDevice. Needs gcc and readelf.
"""

import collections
import pathlib
import re
import subprocess
import sysconfig

OF_THE_DRIVER = "libcuda.so.1"  # of one library only, which is loaded when CUDA is first used
LOOSE_HOME = "libcusparseLt.so.0"  # symbols without versions can be in any library; this one has no others


def readelf(option, path):
    return subprocess.run(["readelf", *option, "-W", path], capture_output=True, text=True, check=True).stdout


def wanted_versions(path):
    """version -> library that has it, of a library's version needs."""
    result, library = {}, None
    for line in readelf(["-V"], path).splitlines():
        if found := re.search(r"File: (\S+)", line):
            library = found.group(1)
        elif library and (found := re.search(r"Name: (\S+)\s+Flags", line)):
            result[found.group(1)] = library
    return result


def undefined_symbols(path):
    """(name, version or "") of a library's undefined symbols."""
    for line in readelf(["--dyn-syms"], path).splitlines():
        words = line.partition(" UND ")[2].split()
        if words:
            name, _, version = words[0].partition("@")
            yield name, version.strip("@")


def source_of(symbols, library):
    lines = ['static const char* text(void) { return "no CUDA here"; }']
    for name in sorted(symbols):
        if re.search(r"Get(Last)?Error(String|Name)|GetErrorEnum", name):
            lines.append(f"const char* {name}(void) {{ return text(); }}")
        else:
            lines.append(f"long {name}(void) {{ return 100; }}")
    if not symbols:
        lines.append(f"long {re.sub('[^a-z0-9]', '_', library.lower())}(void) {{ return 100; }}")
    return "\n".join(lines) + "\n"


def main():
    folder = pathlib.Path(sysconfig.get_paths()["purelib"]) / "torch/lib"
    libraries = [path for path in folder.glob("*.so*") if not path.is_symlink()]
    present = {path.name for path in folder.glob("*.so*")}
    missing, loose = set(), set()
    versioned = collections.defaultdict(lambda: collections.defaultdict(set))  # library -> version -> symbols
    for path in libraries:
        needed = re.findall(r"NEEDED.*\[(.*?)\]", readelf(["-d"], path))
        missing |= {name for name in needed if re.match(r"lib(cu|nv|nccl)", name) and name not in present}
        versions = wanted_versions(path)
        for name, version in undefined_symbols(path):
            if version in versions:
                versioned[versions[version]][version].add(name)
            elif not version and re.match(r"(cu|nccl|nvsh|nv)[A-Za-z]", name):
                loose.add(name)
    missing.discard(OF_THE_DRIVER)
    home = LOOSE_HOME if LOOSE_HOME in missing else next((name for name in sorted(missing) if name not in versioned), None)
    for library in sorted(missing):
        symbols = set().union(loose if library == home else set(), *versioned[library].values())
        command = ["gcc", "-shared", "-fPIC", "-O1", "-w", "-x", "c", "-", "-o", folder / library, f"-Wl,-soname,{library}", "-nostdlib"]
        script = folder / "versions.map"
        if versioned[library]:
            script.write_text("".join(f"{v} {{ global: {'; '.join(sorted(s))}; }};\n" for v, s in versioned[library].items()))
            command.append(f"-Wl,--version-script,{script}")
        subprocess.run(command, input=source_of(symbols, library), text=True, check=True)
        script.unlink(missing_ok=True)
        print(library, len(symbols))


if __name__ == "__main__":
    main()
