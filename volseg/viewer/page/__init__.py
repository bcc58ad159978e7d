"""The page of `volseg view`: plain HTML, CSS and ES modules, and NiiVue, which draws the image."""
