"""A study at a URL: a working copy on this machine, and the same files on any fsspec file system.

    <cache>/<protocol>/<path of the URL>/<study>/      the working copy, laid out as any study
        remote.json                                    whose copy it is; a study without this file is no copy
        paths/<name>-<path id>/remote.json             what of the path is here and there, and which lease was ours

What lies at the URL is a study too (copied to a disk, it can be used as one), besides `lease/`, which says who owns
what. An object store has no rename and no append: an object is there, whole, or it is not. So of a state the shards are
uploaded first, then the tables, and then the manifest, which lists the sizes and digests of the shards: a state without
a manifest there does not exist, and a state whose files are not those of its manifest is never loaded.

The URL is the truth. At the start tables, plans and manifests are fetched; shards are fetched when a state is loaded.
A path is written to by the one who owns its lease there (`lease`), and the working copy of whoever owned it last may be
ahead of the URL: it is kept and uploaded. Every other copy is replaced by what is there.

Lines that several machines add to (ledger, commands) and held-out sets are merged: what either side has stays.
"""
