"""Training by other people's programs: files out, files in, counted by our evaluation.

A run's images and wrong labels go out as a raw dataset of nnU-Net (`raw_dataset`), a program trains
on them and writes probabilities, these are checked and kept in place of weights (`predictions`).
What each file holds is in docs/trainers.md.
"""
