# From experiment cells through executed notebooks and the ledger to the book.
#
# `make book` runs it through pipeline/book.py; README.md says how on a cluster.
# One job makes one output file. Keys (pipeline/keys.py) decide what is stale.
import sys

from ncutils import workspace
from ncutils.experiments import catalogue
from pipeline import keys

PYTHON = sys.executable


def results_of(wildcards):
    """The results that a page needs made; an archived one is not made again."""
    scale = wildcards.scale
    cells = [name.split("/") for name in catalogue.PAGES[wildcards.page]]
    return [
        f"_build/{scale}/results/{experiment}/{cell}.nc"
        for experiment, cell in cells
        if not keys.archived(scale, experiment, cell).is_file()
    ]


wildcard_constraints:
    scale="|".join(workspace.SCALES),
    page="[^/]+",
    experiment="[^/]+",
    cell="[^/]+",


rule cell:
    output:
        "_build/{scale}/results/{experiment}/{cell}.nc",
    params:
        key=lambda w: keys.cell(w.scale, w.experiment, w.cell),
    log:
        "_build/{scale}/log/{experiment}.{cell}.log",
    message:
        "compute {wildcards.experiment}/{wildcards.cell}"
    shell:
        "{PYTHON:q} -m ncutils.experiments {wildcards.experiment} {wildcards.cell}"
        " --scale {wildcards.scale} > {log:q} 2>&1"


rule page:
    input:
        results_of,
    output:
        "_build/{scale}/notebooks/{page}.ipynb",
        "_build/{scale}/pages/{page}.json",
    params:
        key=lambda w: keys.page(w.scale, w.page),
    log:
        "_build/{scale}/log/{page}.log",
    message:
        "execute notebooks/{wildcards.page}.py"
    shell:
        "{PYTHON:q} -m pipeline.execute {wildcards.page} SCALE={wildcards.scale} > {log:q} 2>&1"


rule ledger:
    input:
        expand("_build/{{scale}}/pages/{page}.json", page=catalogue.PAGES),
    output:
        "_build/{scale}/ledger.json",
    params:
        key=lambda w: keys.ledger(w.scale),
    log:
        "_build/{scale}/log/ledger.log",
    message:
        "judge the claims"
    shell:
        "{PYTHON:q} -m ncutils.claims --scale {wildcards.scale} > {log:q} 2>&1"


rule book:
    input:
        "_build/{scale}/ledger.json",
        expand("_build/{{scale}}/notebooks/{page}.ipynb", page=catalogue.PAGES),
    output:
        "_build/{scale}/book.json",
    params:
        key=lambda w: keys.book(w.scale),
    log:
        "_build/{scale}/log/book.log",
    message:
        "typeset the book"
    shell:
        "{PYTHON:q} -m pipeline.stage --scale {wildcards.scale} > {log:q} 2>&1"
