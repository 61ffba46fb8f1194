"""The run directory: content-addressed units, written atomically, resumed by the same command."""

from headscope.runs.directory import RunDirectory
from headscope.runs.executor import Execution, Outcome, execute
from headscope.runs.units import Inputs, Unit, Work

__all__ = ["Execution", "Inputs", "Outcome", "RunDirectory", "Unit", "Work", "execute"]
