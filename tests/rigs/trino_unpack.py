"""trino_unpack.py TAR DIRECTORY PLUGIN...: unpacks of a trino-server tarball only what starts the server, and the named plugins.

Jars that plugins share are hard links to a plugin that is not unpacked, so what they link to is unpacked in their place.
"""
import os
import shutil
import sys
import tarfile

tar, directory, plugins = sys.argv[1], sys.argv[2], sys.argv[3:]


def is_wanted(name):
    parts = name.split("/")[1:]
    return parts[:1] in (["bin"], ["lib"], ["secrets-plugin"]) or (parts[:1] == ["plugin"] and parts[1:2] and parts[1] in plugins)


def place(name):
    return os.path.join(directory, *name.split("/")[1:])


links = {}
with tarfile.open(tar) as archive:
    for member in archive:
        if is_wanted(member.name) and member.islnk():
            links.setdefault(member.linkname, []).append(place(member.name))
with tarfile.open(tar) as archive:
    for member in archive:
        places = links.get(member.name, []) + ([place(member.name)] if is_wanted(member.name) and member.isreg() else [])
        for at, path in enumerate(places):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            if at:
                shutil.copyfile(places[0], path)
            else:
                with open(path, "wb") as file:
                    shutil.copyfileobj(archive.extractfile(member), file)
            os.chmod(path, member.mode | 0o600)
