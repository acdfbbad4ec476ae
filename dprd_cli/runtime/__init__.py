"""The machine: devices, processes, progress, signals, versions."""
