.DEFAULT_GOAL := help
.PHONY: help demo

PYTHON ?= python3

help:
	@echo "make demo          load a Django app directly and through Siding, and compare"
	@echo "make demo STAY=1   the same, and leave everything up until Ctrl-C"

demo:
	@$(PYTHON) examples/demo/demo.py
