"""The %-commands: `%load_ext tauro_nb` calls `load`, `%unload_ext tauro_nb` calls `unload`."""

from __future__ import annotations

from typing import Any

from IPython.core.interactiveshell import InteractiveShell

__all__ = ["load", "unload"]


def load(shell: InteractiveShell) -> None:
    """Register the magics and their completion; a second time changes nothing."""
    from tauro_nb.magics.commands import TauroMagics

    if _loaded(shell) is None:
        magics = TauroMagics(shell)  # lists itself among the shell's configurables
        shell.register_magics(magics)
        shell.Completer.custom_matchers.append(magics.matcher)


def unload(shell: InteractiveShell) -> None:
    """Remove everything `load` added, and close the catalogs that `%vconnect` opened."""
    magics = _loaded(shell)
    if magics is None:
        return
    magics.session.close()
    shell.configurables.remove(magics)
    shell.Completer.custom_matchers.remove(magics.matcher)
    shell.magics_manager.registry.pop(type(magics).__name__, None)
    for kind, names in type(magics).magics.items():
        for name in names:
            shell.magics_manager.magics[kind].pop(name, None)


def _loaded(shell: InteractiveShell) -> Any:
    from tauro_nb.magics.commands import TauroMagics

    return next((found for found in shell.configurables if isinstance(found, TauroMagics)), None)
