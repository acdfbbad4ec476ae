"""D-PRD: Deformable Part Region Learning for Object Detection (Bae, AAAI 2022), as a toolkit.

Importing this package never imports torch; the submodules that need it do.
"""

__version__ = "0.1.0"
