# make book            the book at SCALE=smoke | quick | paper, then open _build/html/index.html
# make pdf             the book, and all of it as _build/<SCALE>/neural-collapse.pdf (Chromium)
# make test            the smoke book, then every test (one worker more than cores: tests wait
#                      for browsers and for other processes)
# make bench           speed against plain implementations
# make lock | flip     accept the smoke figures' arrays as references | compare with the accepted ones
# make serve | clean   look at the book in a browser | forget everything that was built
# make requirements    resolve requirements/project.in into requirements.lock and environment.yml
# make scorecard       archive the quick ledger and write it into README.md
SCALE ?= quick
CORES ?= 2
PORT ?= 8000
PY := .venv/bin/python
INSTALLED := .venv/.installed

.PHONY: book pdf test bench lock flip serve clean requirements scorecard

book: $(INSTALLED)
	@$(PY) -m pipeline.build --scale $(SCALE) --cores $(CORES)

pdf: book
	@$(PY) -m pipeline.pdf --scale $(SCALE)

test: $(INSTALLED)
	@$(PY) -m pipeline.build --scale smoke --cores $(CORES) --no-link
	@$(PY) -m pytest -n $$(($(CORES) + 1)) --dist loadfile --no-loadscope-reorder

bench: $(INSTALLED)
	@$(PY) -m pytest benchmarks -o addopts= --benchmark-only --benchmark-warmup=on

lock: $(INSTALLED)
	@$(PY) -m pipeline.build --scale smoke --cores $(CORES) --no-link
	@$(PY) -m pipeline.references lock

flip: $(INSTALLED)
	@$(PY) -m pipeline.build --scale smoke --cores $(CORES) --no-link
	@$(PY) -m pipeline.references flip

serve: $(INSTALLED)
	@$(PY) -m http.server $(PORT) --bind 127.0.0.1 --directory _build/html

scorecard: SCALE := quick
scorecard: book
	@$(PY) -m pipeline.scorecard --archive

requirements: $(INSTALLED)
	@$(PY) requirements/resolve.py

clean:
	rm -rf _build .snakemake

$(INSTALLED): requirements.lock pyproject.toml
	@sh requirements/install.sh
