"""An engine that is installed so badly that importing it ends the process."""

import ctypes

ctypes.string_at(0)
