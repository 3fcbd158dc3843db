"""Weights in files that others have written: safetensors, files of torch.save, and shards.

`checkpoint_files.read_state` and `sample_files.read_samples` are the ways in. No file is
trusted: nothing that it names is imported or called, and no memory is asked for that it does not
have.
"""
