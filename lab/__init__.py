"""Disposable targets that behave like fresh VMs, for the quick start and the tests.

Used as a program (``python -m lab up``) and as a library: :mod:`lab.targets` creates and destroys targets,
:mod:`lab.inventory` places them in groups, :mod:`lab.files` serves what they download, :mod:`lab.wordpress` makes
WordPress archives. See README.md.
"""
