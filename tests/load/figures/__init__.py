"""One module a figure. `measure(directory, installation)` yields what it found as `verdict.Figure`s."""
