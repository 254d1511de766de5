# From cases through executed notebooks and the ledger to the book.
#
# `make book` runs it through pipeline/build.py; README.md says how on a cluster.
# One job makes one output file. Keys (pipeline/build.py) decide what is stale.
import sys

from ncutils.records import workspace
from pipeline import build

PYTHON = sys.executable
PAGES = build.pages()


def results_of(wildcards):
    """The results that a page needs made; an archived one is not made again."""
    scale = wildcards.scale
    return [
        f"_build/{scale}/results/{case}.nc"
        for case in build.cases_of(wildcards.page)
        if not build.archived(scale, case).is_file()
    ]


wildcard_constraints:
    scale="|".join(workspace.SCALES),
    page="[^/]+/[^/]+",
    case="[^/]+/[^/]+/[^/]+",


rule case:
    output:
        "_build/{scale}/results/{case}.nc",
    params:
        key=lambda w: build.case_key(w.scale, w.case),
    log:
        "_build/{scale}/log/{case}.log",
    message:
        "compute {wildcards.case}"
    shell:
        "{PYTHON:q} -m ncutils.experiments {wildcards.case} --scale {wildcards.scale} > {log:q} 2>&1"


rule page:
    input:
        results_of,
    output:
        "_build/{scale}/notebooks/{page}.ipynb",
        "_build/{scale}/pages/{page}.json",
    params:
        key=lambda w: build.page_key(w.scale, w.page),
    log:
        "_build/{scale}/log/{page}.log",
    message:
        "execute notebooks/{wildcards.page}.py"
    shell:
        "{PYTHON:q} -m pipeline.execute {wildcards.page} SCALE={wildcards.scale} > {log:q} 2>&1"


rule ledger:
    input:
        expand("_build/{{scale}}/pages/{page}.json", page=PAGES),
    output:
        "_build/{scale}/ledger.json",
    params:
        key=lambda w: build.ledger_key(w.scale),
    log:
        "_build/{scale}/log/ledger.log",
    message:
        "judge the claims"
    shell:
        "{PYTHON:q} -m ncutils.records.claims --scale {wildcards.scale} > {log:q} 2>&1"


rule book:
    input:
        "_build/{scale}/ledger.json",
        expand("_build/{{scale}}/notebooks/{page}.ipynb", page=PAGES),
    output:
        "_build/{scale}/book.json",
    params:
        key=lambda w: build.book_key(w.scale),
    log:
        "_build/{scale}/log/book.log",
    message:
        "typeset the book"
    shell:
        "{PYTHON:q} -m pipeline.stage --scale {wildcards.scale} > {log:q} 2>&1"
