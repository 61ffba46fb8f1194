"""Studies: where the areas are joined, and where disk, seeds and models meet.

A study is read (``reading``), turned into units of work (``plan``) and run (``run``); the other modules of this level
are what a command does with a study or a finished run. Of the packages, each imports only those listed before it, and
``costs`` also the plan:

- ``study_file``: the keys of a study file.
- ``models``, ``data``: the models and the tasks that a study file names.
- ``training``, ``answers``, ``circuits``, ``ablation``: the kinds of work, a module each.
- ``costs``: how long a plan will take.
"""
