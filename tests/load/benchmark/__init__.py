"""The public benchmark: one app under seven servers, three latencies, four concurrencies.

`plan` says what is measured, `setups` how each server runs, `stand` what a cell needs to run, `measurement` measures
one, `conditions` tells where, `results` keeps all as JSON. `ratios`, `table` and `chart` are what is made of them.
"""
