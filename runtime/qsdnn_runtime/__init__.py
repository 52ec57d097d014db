"""All that runs on the board: Python >= 3.8, standard library, numpy and the engines."""
