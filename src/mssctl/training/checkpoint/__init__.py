"""Checkpoints: folders that appear complete or not at all, without pickle.

``RUN/checkpoints/step-00001234/`` holds ``model.safetensors``, ``ema.safetensors`` (with a moving
average), ``optimizer.safetensors`` (``NAME/exp_avg`` and so on), ``rng.safetensors`` and, with the
SHA-256 of each of them and a checksum over itself, ``state.json``. All of it is checked before
anything is restored.
"""
