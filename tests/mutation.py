"""Faults in emitted Verilog."""

import re


def mutate(text: str, module: str, pattern: str, replacement: str) -> str:
    """`text` with the one match of `pattern` in the first module whose name begins so (a pattern too)
    replaced; fails without one.
    """
    found = re.search(rf"^module {module}\w*\s*\(.*?^endmodule", text, re.MULTILINE | re.DOTALL)
    assert found, f"no module {module}* in the Verilog"
    mutated, count = re.subn(pattern, replacement, found.group())
    assert count == 1, f"'{pattern}' must occur once in module {module}*, not {count} times"
    return text[:found.start()] + mutated + text[found.end():]
