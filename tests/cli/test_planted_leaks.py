"""Who stands in training and test is found by a network that was trained on other people."""

import re

import numpy as np
import pytest
import yaml

from fer_lightning.cli.main import main
from fer_lightning.experiments import identities
from tests.leaking import write_people

STILLS = ("synthetic_stills", "--dataset.images", "14000", "--dataset.subjects", "1000")
FACES = {"detector": "annotation", "size": 128, "jitter": 0.03, "every": 1, "audio": False}


@pytest.mark.slow  # trains a network on 1,000 people
def test_planted_leaks_among_people_that_nobody_has_seen_are_found(tmp_path, monkeypatch, capsys):
    """Training, known people and both hidden sets are rendered people of other seeds.

    Recall and precision are of the clips of both sets: two people who are taken for one cost 4 points of one set.
    """
    faces, network, seen = tmp_path / "faces.yaml", tmp_path / "people.safetensors", []
    faces.write_text(yaml.safe_dump(FACES))

    def prepared(name: str) -> list[str]:
        options = ["own", "--root", str(tmp_path / name), "--dataset.faces", str(faces)]
        assert main(["data", "prepare", *options]) == 0
        return options

    def spy(*arguments):
        seen.append(identities_find_leaks(*arguments))
        return seen[-1]

    identities_find_leaks = identities.find_leaks
    monkeypatch.setattr(identities, "find_leaks", spy)
    assert main(["data", "prepare", *STILLS]) == 0
    assert main(["data", "embedder", *STILLS, "--out", str(network)]) == 0
    write_people(tmp_path / "known", 250, seed=0, named=True)
    prepared("known")
    known = ["--known", "own", "--known.root", str(tmp_path / "known"), "--known.faces", str(faces)]
    found = np.zeros(3, int)
    for seed in (101, 102):
        truth = write_people(tmp_path / f"hidden{seed}", 150, seed=seed, named=False)
        options = prepared(f"hidden{seed}")
        assert main(["data", "doctor", *options, "--identities", "--embedder", str(network), *known]) == 0
        leaks = seen.pop()
        planted = np.array([truth[clip] for clip in leaks.clips.tolist()])
        assert len(planted) == len(truth) == 50 * 3 + 50 * 7
        said = capsys.readouterr().out
        assert f"identities: {int(leaks.leaked.sum())} of {len(truth)} test clips" in said
        found += np.array([(leaks.leaked & planted).sum(), planted.sum(), leaks.leaked.sum()])
        print(f"seed {seed}: {said}")
        assert re.search(r"people.safetensors, on 250 known people of own: equal error rate 0\.\d%", said)
    right, leaked, named = found.tolist()
    print(f"recall {right / leaked:.3f}, precision {right / named:.3f}")
    assert right >= 0.95 * leaked
    assert right >= 0.95 * named
